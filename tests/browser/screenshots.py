"""``make screenshots``: every page, light and dark, wide and narrow.

The data are those of ``stagegate demo``, and those of ``tests.browser.world`` besides:
the demo alone has neither requests nor anything that fails.
"""

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypedDict

import click
from playwright.sync_api import Browser

from registry.demo.receiver import Receiver as DemoReceiver
from registry.demo.screen import Screen
from registry.demo.server import DemoServer
from registry.demo.story import Story
from registry.settings import packaged_config
from tests.browser.chromium import NARROW, WIDE, Scheme, chromium, visiting
from tests.browser.tour import paths
from tests.browser.world import GATES, Texts, World, fill, refuse_failing
from tests.receiver import Receiver
from tests.server import RunningServer


class Way(TypedDict):
    """How wide the window is, and what the system wishes."""

    width: int
    scheme: Scheme


WAYS: tuple[tuple[str, int, Scheme], ...] = (
    ("light", WIDE, "light"),
    ("dark", WIDE, "dark"),
    ("narrow", NARROW, "light"),
    ("narrow-dark", NARROW, "dark"),
)


@click.command()
@click.option(
    "--to",
    "directory",
    type=click.Path(path_type=Path),
    default="screenshots",
    show_default=True,
)
@click.option("--only", default="", help="Part of the addresses to render.")
def main(*, directory: Path, only: str) -> None:
    """Render every page."""
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        browser = stack.enter_context(chromium())
        world = stack.enter_context(toured(place))
        wanted = [path for path in ["/models/digits", *paths(world)] if only in path]
        for file in render(browser, world, wanted, directory):
            click.echo(str(file))


class _DemoServer(DemoServer):
    """The demo's, where some moves have gates."""

    def _server_environment(self) -> dict[str, str]:
        policy = self.directory / "policy.toml"
        policy.write_text(packaged_config("policy.toml").read_text() + GATES)
        return {
            **super()._server_environment(),
            "STAGEGATE_POLICY_FILE": str(policy),
        }


@contextmanager
def toured(directory: Path) -> Iterator[World]:
    """A server with the demo's story behind it, and the world besides."""
    demo = _DemoServer(directory)
    try:
        with DemoReceiver() as consumer, Receiver(answers=refuse_failing) as receiver:
            Story(Screen(), demo, consumer).tell()
            server = RunningServer(
                directory=directory, environment={}, token=demo.token, port=demo.port
            )
            yield fill(server, receiver, directory, Texts())
    finally:
        demo.stop()


def render(
    browser: Browser, world: World, paths: Sequence[str], directory: Path
) -> Iterator[Path]:
    """Render pages in every way, as one who is signed in; returns the files."""
    directory.mkdir(parents=True, exist_ok=True)
    for way, width, scheme in WAYS:
        how = Way(width=width, scheme=scheme)
        with (
            visiting(browser, world.server, world.server.token, **how) as somebody,
            visiting(browser, world.server, None, **how) as nobody,
        ):
            for path in paths:
                visitor = nobody if path == "/signin" else somebody
                visitor.go(path)
                file = directory / f"{_name(path)}.{way}.png"
                visitor.page.screenshot(path=file, full_page=True)
                yield file


def _name(path: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", path.lower()).strip("-") or "now"


if __name__ == "__main__":
    main()
