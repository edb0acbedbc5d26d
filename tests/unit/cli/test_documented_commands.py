"""What the pages tell people to type exists."""

import re
from pathlib import Path

import click
import pytest

from registry.cli.main import COMMANDS

CHECKOUT = Path(__file__).parents[3]
PAGES = [
    CHECKOUT / "README.md",
    *sorted(CHECKOUT.glob("*/README.md")),
    *sorted(CHECKOUT.glob("registry/*/README.md")),
]
# At the start of a line or of a piece of code; a name in a sentence is neither.
COMMAND = re.compile(r"(?:^\s*|`|\$ )stagegate ([a-z-]+)(?: ([a-z-]+))?", re.MULTILINE)


def problem_with(name: str, inner: str) -> str | None:
    if name not in COMMANDS:
        return f"there is no stagegate {name}"
    command = COMMANDS[name].load()
    if isinstance(command, click.Group) and inner and inner not in command.commands:
        return f"there is no stagegate {name} {inner}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}")
def test_every_command_of_the_page_exists(page: Path) -> None:
    found = COMMAND.findall(page.read_text("utf-8"))

    problems = [problem_with(name, inner) for name, inner in found]

    assert [problem for problem in problems if problem] == []


def test_commands_of_a_page_are_recognised() -> None:
    page = "`stagegate tokens generate` makes one\n    stagegate db upgrade\n"

    assert COMMAND.findall(page) == [("tokens", "generate"), ("db", "upgrade")]
    assert problem_with("tokens", "generate") == "there is no stagegate tokens generate"
