"""A running registry with people at it, each in a browser of their own."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest
from playwright.sync_api import Browser

from registry.client import RegistryClient
from tests.browser.chromium import Scheme, Visitor, chromium, visiting
from tests.server import RunningServer, running_server


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@dataclass
class Site:
    """A registry that a module's tests share, and the people who may sign in."""

    server: RunningServer
    client: RegistryClient
    tokens: dict[str, str] = field(default_factory=dict)

    def token(self, role: str, name: str = "", **members: Any) -> str:  # noqa: ANN401
        """The token of somebody with a role; the same for the same name."""
        name = name or role
        if name not in self.tokens:
            body = {"name": name, "role": role, **members}
            answer = self.server.http().post(
                f"{self.server.url}/api/v1/tokens", json=body
            )
            assert answer.status_code == 201, answer.text
            self.tokens[name] = answer.json()["token"]
        return self.tokens[name]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server on SQLite, with the policy it comes with."""
    with (
        running_server(tmp_path_factory.mktemp("site")) as server,
        server.client() as client,
    ):
        yield Site(server, client)


class Visit(Protocol):
    def __call__(
        self,
        role: str | None = "admin",
        *,
        name: str = "",
        scripts: bool = True,
        width: int = 1440,
        scheme: Scheme = "light",
    ) -> Visitor: ...


@pytest.fixture
def visit(browser: Browser, site: Site) -> Iterator[Visit]:
    """Let somebody visit the site: by role, and by name where several have one role."""
    with ExitStack() as visits:

        def visit(
            role: str | None = "admin",
            *,
            name: str = "",
            scripts: bool = True,
            width: int = 1440,
            scheme: Scheme = "light",
        ) -> Visitor:
            token = None if role is None else site.token(role, name)
            return visits.enter_context(
                visiting(
                    browser,
                    site.server,
                    token,
                    scripts=scripts,
                    width=width,
                    scheme=scheme,
                )
            )

        yield visit


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """A small artifact."""
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "MLmodel").write_text("flavors:\n  sklearn: {}\n")
    (directory / "model.bin").write_bytes(b"weights")
    return directory
