"""A stored manifest, read only where it is asked about.

To read all of a manifest takes 17 µs a file, a third of a second for 20,000 files:
too much for a page of 50 of them, or for one.

Rules:

- The text has the digest of its version, or nothing of it is read.
- Files are sorted by path, so a file is found by halving the text. In JSON a quote
  within a text is escaped: ``{"path":"`` is where a file begins and nowhere else.
"""

import hashlib
import json
from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from registry.domain.manifests import FileEntry
from registry.errors import IntegrityViolationError

_BEGIN = '{"path":"'
_decode = json.JSONDecoder().raw_decode


class ManifestText:
    """The canonical JSON of a manifest.

    Raises:
        IntegrityViolationError: The text is not what ``digest`` was taken over.
    """

    def __init__(self, canonical: str, digest: str) -> None:
        found = "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()
        if found != digest:
            raise IntegrityViolationError(
                f"A stored manifest has the digest {found}, its version has {digest}."
            )
        self._text = canonical

    def files_behind(self, path: str | None, limit: int) -> list[FileEntry]:
        """Up to ``limit`` files in their order; behind ``path``, or from the first."""
        start = self._first(lambda one: path is None or one > path)
        return list(islice(self._files_from(start), limit))

    def find(self, path: str) -> FileEntry | None:
        """The file of this path, if the artifact has one."""
        start = self._first(lambda one: one >= path)
        found = next(self._files_from(start), None)
        return found if found and found.path == path else None

    def children(self, directory: str) -> Iterator[tuple[str, int | None]]:
        """What lies in a directory, by name: a file with its size, or a directory.

        An empty text is the artifact itself. What is below a directory is passed over.
        """
        prefix = f"{directory}/" if directory else ""
        start = self._first(lambda one: one >= prefix)
        while start >= 0:
            file, end = self._read(start)
            path = file["path"]
            if not path.startswith(prefix):
                return
            name, slash, _ = path[len(prefix) :].partition("/")
            yield name, None if slash else file["size"]
            start = self._behind(prefix + name) if slash else self._next(end)

    def _behind(self, directory: str) -> int:
        """Where the first file begins behind all files of a directory."""
        # Of all paths that come later, this text is the least: 0 follows the slash.
        bound = f"{directory}0"
        return self._first(lambda one: one >= bound)

    def _next(self, end: int) -> int:
        """Where the file behind the one that ends there begins; -1 for none."""
        return end + 1 if self._text[end] == "," else -1

    def _first(self, is_wanted: Callable[[str], bool]) -> int:
        """Where the first file begins whose path is wanted, as all behind it are."""

        def leads_there(offset: int) -> bool:
            start = self._text.find(_BEGIN, offset)
            return start < 0 or is_wanted(self._read(start)[0]["path"])

        offset = bisect_left(range(len(self._text)), x=True, key=leads_there)
        return self._text.find(_BEGIN, offset)

    def _files_from(self, start: int) -> Iterator[FileEntry]:
        while start >= 0:
            file, end = self._read(start)
            yield FileEntry(file["path"], file["size"], file["sha256"])
            start = self._next(end)

    def _read(self, start: int) -> tuple[dict[str, Any], int]:
        """The JSON object that begins there, and where it ends."""
        file, end = _decode(self._text, start)
        return file, end
