"""What is read to compare a few versions of a model; each is one statement.

Rules:

- Numbers and ids fill ``MAX_COMPARED`` parameters, the first again where there are
  fewer: the statement is the same for two versions as for five.
- Files are compared by the database, path by path, and only a page of what it found is
  read: an artifact may have 100,000.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    String,
    bindparam,
    distinct,
    func,
    or_,
    select,
)

from registry.domain.manifests import FileEntry
from registry.domain.rows import VersionRow
from registry.errors import VersionNotFoundError
from registry.persistence.queries import OF_LIVE
from registry.persistence.statements import FILES, MODELS, VERSIONS, row_of
from webhooks.statements import fetch

MAX_COMPARED = 5
_PLACES = range(MAX_COMPARED)
_FILE = (FILES.c.version_id, FILES.c.path, FILES.c.size_bytes, FILES.c.sha256)


def _is_chosen(column: ColumnElement[Any]) -> ColumnElement[bool]:
    return or_(*(column == bindparam(f"chosen_{place}") for place in _PLACES))


def _chosen(values: Sequence[Any]) -> dict[str, Any]:
    filled = [*values, *[values[0]] * (MAX_COMPARED - len(values))]
    return {f"chosen_{place}": filled[place] for place in _PLACES}


_CHOSEN = OF_LIVE.where(
    MODELS.c.name == bindparam("name"), _is_chosen(VERSIONS.c.number)
)
_IN_ALL = func.count() == bindparam("artifacts")
_IS_ONE = func.count(distinct(FILES.c.sha256)) == 1


def _files_that(condition: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    paths = (
        select(FILES.c.path)
        .where(
            _is_chosen(FILES.c.version_id),
            FILES.c.path > bindparam("after", type_=String),
        )
        .group_by(FILES.c.path)
        .having(condition)
        .order_by(FILES.c.path)
        .limit(bindparam("most"))
        .subquery()
    )
    return (
        select(*_FILE)
        .join(paths, paths.c.path == FILES.c.path)
        .where(_is_chosen(FILES.c.version_id))
        .order_by(FILES.c.path)
    )


_NAMED = select(*_FILE).where(
    _is_chosen(FILES.c.version_id), FILES.c.path == bindparam("path")
)
_DIFFERING = _files_that(~(_IN_ALL & _IS_ONE))
_EQUAL = _files_that(_IN_ALL & _IS_ONE)


def chosen_versions(
    cx: Connection, name: str, numbers: Sequence[int]
) -> list[VersionRow]:
    """Return the versions of these numbers, in their order.

    Raises:
        VersionNotFoundError: when there is one of them not.
    """
    rows = fetch(cx, _CHOSEN, {"name": name, **_chosen(numbers)})
    found = {row.number: row for row in (row_of(VersionRow, each) for each in rows)}
    for number in numbers:
        if number not in found:
            raise VersionNotFoundError(name, number)
    return [found[number] for number in numbers]


def files_of(
    cx: Connection,
    version_ids: Sequence[str],
    *,
    differing: bool,
    after: str = "",
    most: int,
) -> Mapping[str, Mapping[str, FileEntry]]:
    """Return files by path, and there by version, from behind ``after`` on.

    Args:
        cx: what it reads with.
        version_ids: of versions that have a manifest.
        differing: whether those are asked for that not all have, or not with one
            digest; else those that are the same in all.
        after: a path.
        most: how many paths.
    """
    values = {"artifacts": len(version_ids), "after": after, "most": most}
    statement = _DIFFERING if differing else _EQUAL
    found: dict[str, dict[str, FileEntry]] = {}
    rows = fetch(cx, statement, {**values, **_chosen(version_ids)})
    for version_id, path, size_bytes, sha256 in rows:
        entry = FileEntry(path, size_bytes, sha256)
        found.setdefault(path, {})[version_id] = entry
    return found


def files_named(
    cx: Connection, version_ids: Sequence[str], path: str
) -> Mapping[str, FileEntry]:
    """Return the file of one path, by version; those that have none are left out."""
    rows = fetch(cx, _NAMED, {"path": path, **_chosen(version_ids)})
    return {version_id: FileEntry(*file) for version_id, *file in rows}
