"""Standard output and error, which may not take what a command has to say.

Rules:

- A character that the encoding lacks is escaped, and no reason to fail.
- What goes to stderr is said if it can be: no command fails because nobody reads it.
- A stream that failed is given up. Python would try again when the process ends, and
  end it with another exit code.
"""

import io
import json
import os
import sys
from contextlib import suppress
from typing import TextIO

import click


def accept_every_character() -> None:
    """Let both streams escape what their encoding does not have."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person looks at it; a stream that was closed is None."""
    return stream is not None and stream.isatty()


def say(text: str | bytes) -> None:
    """Print a line to stdout.

    Raises:
        OSError: when it does not take the text: the disk is full, the reader gone.
    """
    try:
        click.echo(text)
    except OSError:
        _give_up(sys.stdout)
        raise


def say_aside(text: str) -> None:
    """Print to stderr, where it can be."""
    try:
        click.echo(text, err=True)
    except OSError:
        _give_up(sys.stderr)


def json_text(
    document: object, stream: TextIO | None, *, indent: int | None = None
) -> str:
    """Return the document as ``stream`` can be given it."""
    text = json.dumps(document, indent=indent, ensure_ascii=False)
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(document, indent=indent)
    return text


def _give_up(stream: TextIO) -> None:
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
