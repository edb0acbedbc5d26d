"""What a command prints: a table for people, the API's JSON for programs.

Rules:

- Results go to stdout; notes, progress and errors go to stderr.
- Once something is changed, trouble with the output is said and does not count: the
  exit code is that of the change.
- ``-o json`` prints the API's objects unchanged; a list is ``{"items": […]}``. What
  was carried out before has ``"replayed": true`` besides.
- A table that is piped is neither cut nor wrapped nor coloured; ``NO_COLOR`` is
  honoured (by rich).
- Text from the registry is data: neither rich markup nor terminal control
  sequences in it have an effect.
"""

import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest
from typing import Any

from registry.addresses import masked
from registry.cli.streams import is_terminal, json_text, say, say_aside
from registry.client.types import Record

NOTHING = "-"


class OutputFormat(StrEnum):
    """The values of ``-o``."""

    TABLE = "table"
    JSON = "json"


@dataclass(frozen=True)
class Column:
    """A column of a table: its title and the member it shows (``actor.name``)."""

    title: str
    member: str


@dataclass(frozen=True)
class Output:
    """Prints the results of one command."""

    format: OutputFormat

    @property
    def is_json(self) -> bool:
        """Whether a program reads the output."""
        return self.format is OutputFormat.JSON

    def details(self, document: Mapping[str, Any], members: Sequence[str]) -> None:
        """Print one object: the members given, or all of it as JSON."""
        if self.is_json:
            _print_json(document)
            return
        rows = [(_label(name), _cell(document, name)) for name in members]
        if not is_terminal(sys.stdout):
            say(_aligned(rows))
            return
        from registry.cli.drawing import grid  # noqa: PLC0415  # see there

        say(grid(rows))

    def listing(self, records: Iterable[Record], columns: Sequence[Column]) -> None:
        """Print a list: a row for each record, or the objects as JSON."""
        documents = [record.raw for record in records]
        if self.is_json:
            _print_json({"items": documents})
            return
        if not documents:
            self.note("Nothing found.")
            return
        titles = [column.title for column in columns]
        rows = [
            [_cell(document, column.member) for column in columns]
            for document in documents
        ]
        if not is_terminal(sys.stdout):
            say(_aligned([titles, *rows]))
            return
        from registry.cli.drawing import table  # noqa: PLC0415  # see there

        say(table(titles, rows))

    def sentence(self, document: Mapping[str, Any], sentence: str) -> None:
        """Print a sentence, or what it says as JSON."""
        if self.is_json:
            _print_json(document)
        else:
            say(printable(sentence))

    def done(self, document: Mapping[str, Any], sentence: str) -> None:
        """Print what was changed: a sentence, or the object as JSON."""
        with self.after_change():
            self.sentence(document, sentence)

    @contextmanager
    def after_change(self) -> Iterator[None]:
        """What is printed within tells of a change, which stands in any case."""
        try:
            yield
        except OSError as error:
            self.note(f"Done, but it cannot be printed: {error.strerror or error}.")

    def note(self, sentence: str) -> None:
        """Say something besides the result, on stderr."""
        say_aside(masked(printable(sentence)))


def member_of(document: Mapping[str, Any], path: str) -> object:
    """Return the member of a JSON object that a dotted path names."""
    value: object = document
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def text_of(value: object) -> str:
    """Return a JSON value as a table shows it."""
    match value:
        case None | "":
            return NOTHING
        case Mapping() | list() if not value:
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case Mapping():
            return ", ".join(f"{key}={text_of(inner)}" for key, inner in value.items())
        case list():
            return ", ".join(text_of(inner) for inner in value)
        case _:
            return str(value)


def printable(text: str) -> str:
    """Return the text with control characters shown instead of obeyed."""
    return "".join(
        f"\\x{ord(character):02x}" if _is_control(character) else character
        for character in text
    )


def _is_control(character: str) -> bool:
    # Cf holds the marks that reorder text: they can make one name look like another.
    return character != "\n" and unicodedata.category(character) in {"Cc", "Cf"}


def _cell(document: Mapping[str, Any], member: str) -> str:
    return printable(text_of(member_of(document, member)))


def _label(member: str) -> str:
    return member.replace("_", " ").replace(".", " ")


def _aligned(rows: Iterable[Sequence[str]]) -> str:
    """Return the rows as rich would draw them, which takes as long again to import."""
    cells = ((cell.split("\n") for cell in row) for row in rows)
    lines = [line for row in cells for line in zip_longest(*row, fillvalue="")]
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            text + " " * (width - _width(text))
            for text, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def _width(text: str) -> int:
    """In cells of a terminal: some scripts take two, a combining mark none."""
    return sum(
        1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
        if not unicodedata.combining(character)
    )


def _print_json(document: object) -> None:
    say(json_text(document, sys.stdout, indent=2))
