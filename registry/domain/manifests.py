"""Manifests: which files an artifact consists of, pinned by digest.

A manifest lists path, size and sha256 of every file of a model version. The
digest of its canonical JSON is the digest of the version.

Rules:

- The canonical form is RFC 8785 JSON of
  ``{"v": 1, "files": [{"path", "size", "sha256"}, ...]}``, sorted by path.
- A path is relative, POSIX, in Unicode NFC and at most 1024 bytes of UTF-8, and
  stays below its root however often a careless reader percent-decodes it.
- Two paths that differ only in case, or a path that is also the directory of
  another one, are refused: not every file system could hold both.
- Our own sha256 is the only digest. An S3 ETag is MD5 only for some objects and
  is never taken for one.

Pure: nothing here reads a file or opens a connection.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote

import rfc8785

from registry.errors import IntegrityViolationError, InvalidInputError

MAX_PATH_BYTES = 1024
"""The longest key S3 accepts, in bytes of UTF-8."""

MAX_SIZE_BYTES = 2**53 - 1
"""The largest integer RFC 8785 can represent."""

MAX_FILES = 100_000
"""How many files an artifact may have: those of which a list of 16 MiB can tell."""

_REFUSED_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
_SHOWN_CHARACTERS = 80
# What a text raises that is JSON, or is not, but has not the shape of a manifest.
_UNREADABLE = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RecursionError,
    InvalidInputError,
)
_DRIVE = re.compile(r"[A-Za-z]:")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def check_artifact_path(path: str) -> str:
    """Return ``path`` unchanged when it can name a file inside an artifact.

    Raises:
        InvalidInputError: The path breaks a rule of this module; the field is
            ``path`` and the message says which rule.
    """
    problem = _text_problem(path)
    if problem is None:
        problem = next(filter(None, map(_shape_problem, _readings(path))), None)
    if problem is not None:
        raise InvalidInputError(
            f"The artifact path {_shown(path)} {problem}.", field="path"
        )
    return path


def _text_problem(path: str) -> str | None:
    if not path.strip():
        return "is empty"
    if _has_refused_character(path):
        return "contains a control character, a line separator or a lone surrogate"
    if len(path.encode()) > MAX_PATH_BYTES:
        return f"is longer than {MAX_PATH_BYTES} bytes"
    if not unicodedata.is_normalized("NFC", path):
        return "is not in Unicode normalization form NFC"
    return None


def _readings(path: str) -> Iterator[str]:
    """Every text that a reader could take the path for.

    Proxies and clients have decoded a path once too often before, and have folded
    full-width dots into plain ones. Each decoding shortens the text, so this ends.
    """
    before, text = "", path
    while text != before:
        yield text
        yield unicodedata.normalize("NFKC", text)
        before, text = text, unquote(text, errors="replace")


def _shape_problem(text: str) -> str | None:
    segments = text.split("/")
    problems = {
        "contains a backslash": "\\" in text,
        "is not relative": text.startswith("/") or bool(_DRIVE.match(text)),
        "has an empty segment": "" in segments,
        "has a segment '.' or '..'": "." in segments or ".." in segments,
        "hides a control character": _has_refused_character(text),
        "contains U+FFFD or an encoding that is not UTF-8": "\ufffd" in text,
    }
    return next((problem for problem, applies in problems.items() if applies), None)


def _has_refused_character(text: str) -> bool:
    return any(
        unicodedata.category(character) in _REFUSED_CATEGORIES for character in text
    )


def _shown(path: str) -> str:
    """The path as a message may carry it: ASCII, and not endless."""
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
                f"The size of {_shown(self.path)} must be between 0 and"
                f" {MAX_SIZE_BYTES} bytes, not {self.size_bytes}.",
                field="size_bytes",
            )
        if not _SHA256.fullmatch(self.sha256):
            raise InvalidInputError(
                f"The sha256 of {_shown(self.path)} must be 64 lower-case"
                f" hexadecimal digits.",
                field="sha256",
            )


@dataclass(frozen=True, slots=True)
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
        _check_side_by_side([entry.path for entry in self.files])

    @classmethod
    def from_canonical(cls, text: str) -> Self:
        """Read back what ``canonical`` wrote.

        Raises:
            IntegrityViolationError: The text is not exactly the canonical form of
                a manifest, so it is not what was stored.
        """
        try:
            document = json.loads(text)
            manifest = cls(
                tuple(
                    FileEntry(file["path"], file["size"], file["sha256"])
                    for file in document["files"]
                )
            )
            is_canonical = manifest.canonical == text
        except _UNREADABLE as error:
            raise IntegrityViolationError(
                f"A stored manifest cannot be read: {error}"
            ) from error
        if not is_canonical:
            raise IntegrityViolationError("A stored manifest is not in canonical form.")
        return manifest

    @property
    def canonical(self) -> str:
        """The RFC 8785 JSON that the digest is taken over."""
        # RFC 8785 sorts the members of objects, not arrays; the files are sorted.
        files: list[Mapping[str, str | int]] = [
            {"path": file.path, "size": file.size_bytes, "sha256": file.sha256}
            for file in self.files
        ]
        return rfc8785.dumps({"v": 1, "files": files}).decode()

    @property
    def digest(self) -> str:
        """``sha256:`` and the hexadecimal digest of the canonical form."""
        return "sha256:" + hashlib.sha256(self.canonical.encode()).hexdigest()

    @property
    def size_bytes(self) -> int:
        """The size of all files together."""
        return sum(entry.size_bytes for entry in self.files)

    def differences(self, other: Self) -> list[str]:
        """How ``other``, which was found, departs from this manifest.

        One sentence for each file, in the order of the paths; none when equal.
        """
        expected = {entry.path: entry for entry in self.files}
        found = {entry.path: entry for entry in other.files}
        return [
            _difference(path, expected.get(path), found.get(path))
            for path in sorted(expected.keys() | found.keys())
            if expected.get(path) != found.get(path)
        ]


def _difference(path: str, expected: FileEntry | None, found: FileEntry | None) -> str:
    if expected is None:
        return f"{path} is not in the manifest."
    if found is None:
        return f"{path} is missing."
    if found.size_bytes != expected.size_bytes:
        return (
            f"{path} has {found.size_bytes} bytes, the manifest says"
            f" {expected.size_bytes}."
        )
    return f"{path} has sha256 {found.sha256}, the manifest says {expected.sha256}."


def _check_side_by_side(paths: list[str]) -> None:
    by_folded: dict[str, str] = {}
    for path in paths:
        folded = _folded(path)
        if folded in by_folded:
            raise InvalidInputError(
                f"The paths {_shown(by_folded[folded])} and {_shown(path)} are the same"
                f" or differ only in case.",
                field="files",
            )
        by_folded[folded] = path
    for path in paths:
        folded = _folded(path)
        for cut in (i for i, character in enumerate(folded) if character == "/"):
            if folded[:cut] in by_folded:
                raise InvalidInputError(
                    f"{_shown(by_folded[folded[:cut]])} is a file and also the"
                    f" directory of {_shown(path)}.",
                    field="files",
                )


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path.casefold())
