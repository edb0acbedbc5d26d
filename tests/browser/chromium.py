"""Chromium, as Debian has it, driven by Playwright: a person at a page.

- ``Visitor`` is somebody who is signed in, in a browser profile of their own.
- Whatever the console complains of, or the Content-Security-Policy refuses, fails the
  test (``Visitor.complaints``). That a form is refused with a 4xx is no complaint.
- axe-core finds what keeps people out (``Visitor.check``), in light and in dark.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from tests.server import RunningServer
from tests.services.absence import report_absence
from tests.waiting import STALL_SECONDS

#: Chromium without windows takes a third of the processor time that it takes with them.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
WIDE, NARROW = 1440, 390
HEIGHT = 900
_COLOURS = {"runOnly": ["color-contrast", "link-in-text-block"]}
_REFUSED = "Failed to load resource: the server responded with a status of 4"


Scheme = Literal["light", "dark"]


def find_chromium() -> str | None:
    """Where Chromium is."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; each visitor has a profile of their own in it."""
    program = find_chromium()
    if program is None:
        report_absence("Chromium is not installed (apt-get install chromium)")
    expect.set_options(timeout=STALL_SECONDS * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@dataclass
class Visitor:
    """Somebody at a page, and what their browser complained of."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)
    has_scripts: bool = True

    def __post_init__(self) -> None:
        self.page.on("console", self._listen)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.set_default_timeout(STALL_SECONDS * 1000)

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            is_refusal = message.text.startswith(_REFUSED)
            if not is_refusal:
                self.complaints.append(f"{message.type}: {message.text}")

    def go(self, path: str = "/") -> Page:
        """Open a page of the registry."""
        self.page.goto(f"{self.url}{path}")
        return self.page

    def press(self, name: str) -> None:
        """Press the one button of that name, and wait for the page it leads to."""
        self.page.get_by_role("button", name=name, exact=True).click()
        self.page.wait_for_load_state()

    def follow(self, name: str) -> None:
        """Follow the first link of that name."""
        self.page.get_by_role("link", name=name).first.click()
        self.page.wait_for_load_state()

    @property
    def text(self) -> str:
        """What the page says, as one line."""
        return " ".join(self.page.locator("main").inner_text().split())

    def check(self) -> None:
        """Fail for what axe-core finds, for the present page in light and in dark."""
        for scheme in ("light", "dark"):
            self.page.emulate_media(color_scheme=scheme)
            # Nothing else differs in the dark.
            found = found_by_axe(self.page, only_colours=scheme == "dark")
            assert found == [], (self.page.url, scheme, found)
        self.page.emulate_media(color_scheme="light")
        assert self.complaints == []

    def is_within_width(self) -> bool:
        """Whether nothing has to be scrolled sideways but what scrolls by itself."""
        return bool(
            self.page.evaluate(
                "document.documentElement.scrollWidth"
                " <= document.documentElement.clientWidth"
            )
        )


def found_by_axe(page: Page, *, only_colours: bool = False) -> list[str]:
    """What axe-core finds: rule, element, and what it says of it."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(_axe())
    options = {**(_COLOURS if only_colours else {}), "resultTypes": ["violations"]}
    found: list[dict[str, Any]] = page.evaluate(
        "async (options) => (await axe.run(document, options)).violations", options
    )
    return [
        f"{violation['id']}: {node['target']} {node['failureSummary']}"
        for violation in found
        for node in violation["nodes"]
    ]


@cache
def _axe() -> str:
    package = find_spec("axe_core_python")
    assert package is not None
    assert package.origin is not None
    return (Path(package.origin).parent / "axe.min.js").read_text()


@contextmanager
def visiting(
    browser: Browser,
    server: RunningServer,
    token: str | None,
    *,
    scripts: bool = True,
    width: int = WIDE,
    scheme: Scheme = "light",
) -> Iterator[Visitor]:
    """Somebody at a browser of their own, signed in by a token; None is nobody yet."""
    context = browser.new_context(
        java_script_enabled=scripts,
        viewport={"width": width, "height": HEIGHT},
        color_scheme=scheme,
        reduced_motion="reduce",
        timezone_id="Europe/Berlin",
        locale="en-GB",
    )
    if token is not None:
        answer = context.request.post(
            f"{server.url}/auth/session", headers={"Authorization": f"Bearer {token}"}
        )
        assert answer.status == 201, answer.text()
    visitor = Visitor(context.new_page(), server.url, has_scripts=scripts)
    yield visitor
    context.close()
    assert visitor.complaints == [], visitor.complaints
