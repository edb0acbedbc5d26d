"""Manifests: which files an artifact consists of, pinned by digest.

A manifest lists path, size and sha256 of every file of a model version. The
digest of its canonical JSON is the digest of the version.

Rules:

- The canonical form is RFC 8785 JSON of
  ``{"v": 1, "files": [{"path", "size", "sha256"}, ...]}``, sorted by path.
- A path is relative, POSIX, at most 1024 bytes of UTF-8 and without control
  characters, which a terminal would obey.
- It stays below its root however a careless reader reads it: decodes it once more
  or many times, folds it, takes a backslash for ``/``, or lets NUL end it. What such a
  reader would make of it else is no reason to refuse it.
- A path is kept as it is given: two that differ only in case or in Unicode
  normalization form are two files. Where a store would mix them up is asked there
  (``registry.artifacts.side_by_side``).
- A path that is also the directory of another one is refused.
- Our own sha256 is the only digest. An S3 ETag is MD5 only for some objects and
  is never taken for one.

Pure: nothing here reads a file or opens a connection.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self
from urllib.parse import unquote_to_bytes

import rfc8785

from registry.errors import IntegrityViolationError, InvalidInputError

MAX_PATH_BYTES = 1024
"""The longest key S3 accepts, in bytes of UTF-8."""

MAX_SIZE_BYTES = 2**53 - 1
"""The largest integer RFC 8785 can represent."""

MAX_FILES = 100_000
"""How many files an artifact may have: those of which a list of 16 MiB can tell."""

# What is encoded more often hides something, and to follow it would take long.
_MAX_DECODINGS = 8
_REFUSED_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
_SHOWN_CHARACTERS = 80
_ROOT = re.compile(r"[/\\]|[A-Za-z]:")
_ENDS_OF_SEGMENTS = re.compile(r"[/\\\0]")
# ASCII written in two to four bytes, which no sound decoder of UTF-8 accepts.
_OVERLONG = re.compile(rb"([\xc0\xc1]|\xe0[\x80\x81]|\xf0\x80[\x80\x81])([\x80-\xbf])")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def check_artifact_path(path: str) -> str:
    """Return ``path`` unchanged when it can name a file inside an artifact.

    Raises:
        InvalidInputError: The path breaks a rule of this module.
    """
    problem = _text_problem(path) or _way_out(path)
    if problem is not None:
        raise InvalidInputError(
            f"The artifact path {shown(path)} {problem}.", field="path"
        )
    return path


def _text_problem(path: str) -> str | None:
    segments = path.split("/")
    problems = {
        "is empty": not path.strip(),
        "contains a control character, a line separator or a lone surrogate": (
            has_category(path, _REFUSED_CATEGORIES)
        ),
        "contains U+FFFD, which stands for bytes that were not UTF-8": "\ufffd" in path,
        f"is longer than {MAX_PATH_BYTES} bytes": (
            len(path.encode(errors="replace")) > MAX_PATH_BYTES
        ),
        "contains a backslash": "\\" in path,
        "is not relative": path.startswith("/"),
        "has an empty segment": "" in segments,
        "has a segment '.'": "." in segments,
    }
    return next((problem for problem, applies in problems.items() if applies), None)


def _way_out(path: str) -> str | None:
    """Return how the path, or a text that it could be taken for, leads out.

    Proxies and clients have decoded a path once too often before, and have folded
    full-width dots into plain ones, at the end or between. What leads out once does so
    however often it is decoded, so only the ends are looked at.
    """
    if path.isascii() and "%" not in path:
        return _exit_of(path)
    for before_decoding in (str, _folded):
        text = path
        for _ in range(_MAX_DECODINGS):
            before, text = text, _decoded(before_decoding(text))
            if text == before:
                break
        else:
            return f"is percent-encoded more than {_MAX_DECODINGS} times"
        way_out = _exit_of(text) or _exit_of(_folded(text))
        if way_out:
            return way_out
    return None


def _exit_of(text: str) -> str | None:
    if _ROOT.match(text):
        return "is not relative, or could be read so"
    if ".." in _ENDS_OF_SEGMENTS.split(text):
        return "has a segment '..', or could be read so"
    return None


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _decoded(text: str) -> str:
    """Return the text, decoded once by a reader that refuses nothing."""
    plain = _OVERLONG.sub(_shortest, unquote_to_bytes(text))
    return plain.decode(errors="replace")


def _shortest(overlong: re.Match[bytes]) -> bytes:
    return bytes([(overlong[1][-1] & 1) << 6 | overlong[2][0] & 0x3F])


def has_category(text: str, categories: Collection[str]) -> bool:
    """Whether a character is of these categories, none of which is printable."""
    return not text.isprintable() and any(
        unicodedata.category(character) in categories for character in text
    )


def shown(path: str) -> str:
    """Return the path as a message may carry it: ASCII, and not endless."""
    text = ascii(path)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


@dataclass(frozen=True, slots=True, order=True)
class FileEntry:
    """One file of an artifact."""

    path: str
    size_bytes: int
    sha256: str

    def __post_init__(self) -> None:
        check_artifact_path(self.path)
        # A bool passes for an int in Python, but not in JSON.
        is_integer = type(self.size_bytes) is int
        if not is_integer or not 0 <= self.size_bytes <= MAX_SIZE_BYTES:
            raise InvalidInputError(
                f"The size of {shown(self.path)} must be between 0 and"
                f" {MAX_SIZE_BYTES} bytes, not {self.size_bytes}.",
                field="size_bytes",
            )
        if not _SHA256.fullmatch(self.sha256):
            raise InvalidInputError(
                f"The sha256 of {shown(self.path)} must be 64 lower-case"
                f" hexadecimal digits.",
                field="sha256",
            )


@dataclass(frozen=True)  # without slots, which would leave no room for what is cached
class Manifest:
    """The files of one artifact, sorted by path whatever order they came in.

    Raises:
        InvalidInputError: There is no file, or two paths cannot lie side by side.
    """

    files: tuple[FileEntry, ...]

    def __post_init__(self) -> None:
        if not self.files:
            raise InvalidInputError(
                "A manifest names at least one file.", field="files"
            )
        object.__setattr__(self, "files", tuple(sorted(self.files)))
        check_side_by_side([entry.path for entry in self.files])

    @classmethod
    def from_canonical(cls, text: str) -> Self:
        """Read back what ``canonical`` wrote."""
        files = json.loads(text)["files"]
        return cls(tuple(FileEntry(f["path"], f["size"], f["sha256"]) for f in files))

    @classmethod
    def stored(cls, rows: Iterable[Iterable[Any]], digest: str) -> Self:
        """Read back what was stored: path, size and sha256 of each file.

        Raises:
            IntegrityViolationError: These are not the files that were digested.
        """
        try:
            manifest = cls(tuple(FileEntry(*row) for row in rows))
        except InvalidInputError as error:
            raise IntegrityViolationError(
                f"A stored manifest cannot be read: {error}"
            ) from error
        if manifest.digest != digest:
            raise IntegrityViolationError(
                f"A stored manifest has the digest {manifest.digest}, its version has"
                f" {digest}."
            )
        return manifest

    @cached_property
    def canonical(self) -> str:
        """Return the RFC 8785 JSON that the digest is taken over."""
        # RFC 8785 sorts the members of objects, not arrays; the files are sorted.
        files: list[Mapping[str, str | int]] = [
            {"path": file.path, "size": file.size_bytes, "sha256": file.sha256}
            for file in self.files
        ]
        return rfc8785.dumps({"v": 1, "files": files}).decode()

    @cached_property
    def digest(self) -> str:
        """Return ``sha256:`` and the hexadecimal digest of the canonical form."""
        return "sha256:" + hashlib.sha256(self.canonical.encode()).hexdigest()

    @property
    def size_bytes(self) -> int:
        """Return the size of all files together."""
        return sum(entry.size_bytes for entry in self.files)

    def differences(self, other: Self) -> list[str]:
        """Return how ``other``, which is there, departs from this manifest.

        One sentence for each file, in the order of the paths; none when equal.
        """
        expected = {entry.path: entry for entry in self.files}
        present = {entry.path: entry for entry in other.files}
        return [
            _difference(path, expected.get(path), present.get(path))
            for path in sorted(expected.keys() | present.keys())
            if expected.get(path) != present.get(path)
        ]


def _difference(
    path: str, expected: FileEntry | None, present: FileEntry | None
) -> str:
    if expected is None:
        return f"{path} is not in the manifest."
    if present is None:
        return f"{path} is missing."
    if present.size_bytes != expected.size_bytes:
        return (
            f"{path} has {present.size_bytes} bytes, the manifest says"
            f" {expected.size_bytes}."
        )
    return f"{path} has sha256 {present.sha256}, the manifest says {expected.sha256}."


def check_side_by_side(paths: Sequence[str]) -> None:
    """Hold the paths of one artifact, in their order, against each other.

    Raises:
        InvalidInputError: One is there twice, or is also a directory.
    """
    files = set(paths)
    for before, path in zip(["", *paths], paths, strict=False):
        if path == before:
            raise InvalidInputError(
                f"The path {shown(path)} is there twice.", field="files"
            )
        for cut in (i for i, character in enumerate(path) if character == "/"):
            if path[:cut] in files:
                raise InvalidInputError(
                    f"{shown(path[:cut])} is a file and also the directory of"
                    f" {shown(path)}.",
                    field="files",
                )
