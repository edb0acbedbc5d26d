"""``stagegate demo``: the whole story on this machine."""

import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

import click

from registry.demo.receiver import Receiver
from registry.demo.screen import Screen
from registry.demo.server import DemoServer
from registry.demo.story import MODEL, Story
from registry.errors import RegistryError


@click.command()
@click.option("--keep", is_flag=True, help="Leave the server running, with its data.")
def demo(*, keep: bool) -> None:
    """Tell the whole story on this machine, with real parts.

    A server, a webhook consumer, two scikit-learn models: register, promote, replace,
    roll back, and see what was delivered and what the audit log says.
    """
    if find_spec("sklearn") is None:
        raise RegistryError(
            "the demo trains scikit-learn models: "
            "pip install 'stagegate-registry[demo]'"
        )
    directory = Path(tempfile.mkdtemp(prefix="stagegate-demo-"))
    server = DemoServer(directory)
    screen = Screen()
    is_kept = False
    try:
        with Receiver() as receiver:
            story = Story(screen, server, receiver)
            story.tell()
            if keep:
                story.pause_webhooks()
        is_kept = keep
    finally:
        if not is_kept:
            server.stop()
            shutil.rmtree(directory)
    _say_how_to_go_on(screen, server, is_kept=is_kept)


def _say_how_to_go_on(screen: Screen, server: DemoServer, *, is_kept: bool) -> None:
    screen.step("How to go on")
    if not is_kept:
        screen.say(
            "The server and its data are gone. To keep them and look around:\n"
            "    make demo KEEP=1\n"
            "For a registry of your own, with data in ./stagegate-data:\n"
            "    make serve"
        )
        return
    screen.say(
        f"The server goes on at {server.url}, its data in {server.directory}.\n"
        f"    export STAGEGATE_URL={server.url}\n"
        f"    export STAGEGATE_TOKEN={server.token}\n"
        f"    stagegate versions list {MODEL}\n"
        f"    {server.url}/                  the pages; sign in with that token\n"
        f"    {server.url}/api/v1/docs       the API, to try it\n"
        f"    kill {server.pid}                          stops it\n"
        "The consumer has gone, so its webhook is paused: what happens now is held."
    )
