"""Whether a store can hold files of these names, each under its own.

A directory may lie on a file system that takes ``A`` for ``a``, or one Unicode form for
another, and so may the one that a bucket is served from. Nothing tells but trying: the
few names that could be mixed up, and what is long, are written as empty files.
"""

import io
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import islice

from registry.artifacts.store import ArtifactStore
from registry.domain.manifests import shown
from registry.errors import InvalidInputError

#: What a store does with these it does with the others.
MAX_TRIED = 100
_SURELY_HELD_BYTES = 128


def check_names(store: ArtifactStore, paths: Sequence[str], *, trial: str) -> None:
    """Try names out at ``trial``, an address of ours that nobody else uses.

    Raises:
        InvalidInputError: The store cannot hold one, or takes it for another one.
    """
    tried = {*islice(_alike(paths), MAX_TRIED), *_longest(paths)}
    if not tried:
        return
    try:
        for path in sorted(tried):
            store.write(trial, path, io.BytesIO(), 0)
        kept = {file.path for file in store.list_files(trial)}
    finally:
        store.delete_tree(trial)
    if mixed_up := sorted(tried - kept):
        raise InvalidInputError(
            f"The artifact store cannot tell {', '.join(map(shown, mixed_up))} from"
            " names that differ only in case or in Unicode normalization form.",
            field="files",
        )


def _alike(paths: Sequence[str]) -> Iterator[str]:
    """Paths of which a part could be taken for the same part of another one."""
    spellings: dict[str, tuple[str, str]] = {}
    for path in paths:
        for end in (*(i for i, c in enumerate(path) if c == "/"), len(path)):
            part = path[:end]
            first, its_path = spellings.setdefault(_folded(part), (part, path))
            if first != part:
                yield its_path
                yield path


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text.casefold())


def _longest(paths: Sequence[str]) -> Iterator[str]:
    """The longest path and the one with the longest name, if any store minds them."""
    for longest in (
        max(paths, key=_bytes_of_longest_name),
        max(paths, key=lambda path: len(path.encode())),
    ):
        if len(longest.encode()) > _SURELY_HELD_BYTES:
            yield longest


def _bytes_of_longest_name(path: str) -> int:
    return max(len(name.encode()) for name in path.split("/"))
