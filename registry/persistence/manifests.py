"""Manifests as they are asked about: one file, a page, a directory, or all of one.

Rules:

- A part is read by the key, version and path: among 50,000 files it costs what it
  costs among 50. Paths are sorted by code points, as in the digest.
- All of a manifest has the digest of its version, or it is not read.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, Text, and_, bindparam, case, func, select, true
from sqlalchemy.orm import Session

from registry.domain.manifests import FileEntry, Manifest
from registry.domain.rows import VersionRow
from registry.errors import (
    ArtifactNotFoundError,
    IntegrityViolationError,
    VersionNotFoundError,
)
from registry.persistence.aggregates import Position
from registry.persistence.statements import FILES, MODELS, VERSIONS, row_of, selected

_FILE = (FILES.c.path, FILES.c.size_bytes, FILES.c.sha256)
_VERSION = (
    select(*selected(VersionRow))
    .join(MODELS, MODELS.c.id == VERSIONS.c.model_id)
    .where(MODELS.c.deleted_at.is_(None), VERSIONS.c.deleted_at.is_(None))
)
_NAMED = _VERSION.where(
    MODELS.c.name == bindparam("name"), VERSIONS.c.number == bindparam("number")
)
_BY_ID = _VERSION.where(
    VERSIONS.c.id == bindparam("id"), VERSIONS.c.artifact_digest.is_not(None)
)

_OF_ID = FILES.c.version_id == bindparam("id")
_ALL = select(*_FILE).where(_OF_ID)
_PAGE = (
    select(*_FILE)
    .where(
        FILES.c.version_id == _NAMED.with_only_columns(VERSIONS.c.id).scalar_subquery(),
        FILES.c.path > bindparam("after"),
    )
    .order_by(FILES.c.path)
    .limit(bindparam("most"))
    .subquery()
)
_FILES_BEHIND = (
    _NAMED.with_only_columns(VERSIONS.c.artifact_digest, *_PAGE.c)
    .outerjoin(_PAGE, true())
    .order_by(_PAGE.c.path)
)


_OF_PATH = and_(FILES.c.version_id == VERSIONS.c.id, FILES.c.path == bindparam("path"))
_FILE_NAMED = _NAMED.outerjoin(FILES, _OF_PATH).add_columns(*_FILE)
_FILE_BY_ID = _BY_ID.outerjoin(FILES, _OF_PATH).add_columns(*_FILE)


def _children() -> Select[Any]:
    """Whether the path is a file, and the first file of each child of a directory.

    The next child is found behind all paths that begin with the one before: behind a
    directory ``d/``, that is from ``d0`` on, and behind a file from its name and the
    least character that a path may have.
    """
    prefix, first = bindparam("prefix", type_=Text), func.min(FILES.c.path)
    length = func.length(prefix)
    child = (
        select(first.label("path"))
        .where(_OF_ID, FILES.c.path >= prefix)
        .cte("child", recursive=True)
    )
    path = child.c.path
    is_below = func.substr(path, 1, length) == prefix
    slash = Position(func.substr(path, length + 1), "/")
    directory = func.substr(path, 1, length + slash - 1)
    behind = case((slash > 0, directory + "0"), else_=path + " ")
    following = select(first).where(_OF_ID, FILES.c.path >= behind).correlate(child)
    child = child.union_all(select(following.scalar_subquery()).where(is_below))
    path = child.c.path
    below = (
        select(FILES.c.path, FILES.c.size_bytes)
        .where(_OF_ID, FILES.c.path == path, func.substr(path, 1, length) == prefix)
        .subquery()
    )
    return (
        _BY_ID.with_only_columns(FILES.c.path, *below.c)
        .outerjoin(FILES, _OF_PATH)
        .outerjoin(below, true())
        .order_by(below.c.path)
    )


_CHILDREN = _children()


def manifest_of(session: Session, version: VersionRow) -> Manifest:
    """The whole manifest of a version that has a digest.

    Raises:
        IntegrityViolationError: when its files are not what was digested.
    """
    rows = session.connection().execute(_ALL, {"id": version.id})
    return Manifest.stored(rows, version.artifact_digest or "")


def files_behind(
    session: Session, name: str, number: int, *, after: str | None, limit: int
) -> list[FileEntry]:
    """Files of a version by path, from the one behind ``after`` on.

    Raises:
        NotFoundError: when model or version do not exist.
        IntegrityViolationError: when a version with a digest has none.
    """
    values = {"name": name, "number": number, "after": after or "", "most": limit}
    rows = session.connection().execute(_FILES_BEHIND, values).all()
    if not rows:
        raise VersionNotFoundError(name, number)
    digest, path, *_ = rows[0]
    if path is not None:
        return [FileEntry(*file) for _, *file in rows]
    if digest and after is None:
        raise IntegrityViolationError(f"version {number} has lost its manifest")
    return []


def find_file(
    session: Session, name: str, number: int, path: str
) -> tuple[VersionRow, FileEntry | None]:
    """A version, and its file of this path if it has one.

    Raises:
        NotFoundError: when model or version do not exist.
    """
    values = {"name": name, "number": number, "path": path}
    found = session.connection().execute(_FILE_NAMED, values).one_or_none()
    if found is None:
        raise VersionNotFoundError(name, number)
    return _version_and_file(found)


def find_file_by_id(
    session: Session, version_id: str, path: str
) -> tuple[VersionRow, FileEntry | None]:
    """As ``find_file``, of the version of this id.

    Raises:
        ArtifactNotFoundError: when there is none that has a manifest.
    """
    # Neither has NUL, which PostgreSQL cannot be asked for, nor what stands for it.
    values = {
        "id": version_id.replace("\0", "\ufffd"),
        "path": path.replace("\0", "\ufffd"),
    }
    found = session.connection().execute(_FILE_BY_ID, values).one_or_none()
    if found is None:
        raise _no_artifact(version_id)
    return _version_and_file(found)


def children(
    session: Session, version_id: str, directory: str
) -> list[tuple[str, int | None]] | None:
    """What lies in a directory, by name: a file with its size, or a directory.

    An empty text is the artifact itself. Nothing lies in a file, and None is answered
    for what is not there. What is below a directory is passed over.

    Raises:
        ArtifactNotFoundError: as ``find_file_by_id``.
    """
    prefix = f"{directory}/" if directory else ""
    values = {"id": version_id, "path": directory, "prefix": prefix}
    rows = session.connection().execute(_CHILDREN, values).all()
    if not rows:
        raise _no_artifact(version_id)
    is_file, is_empty = rows[0][0] is not None, rows[0][1] is None
    if is_empty:
        return [] if is_file else None
    below = [(path[len(prefix) :].partition("/"), size) for _, path, size in rows]
    return [(name, None if slash else size) for (name, slash, _), size in below]


def _version_and_file(found: Sequence[Any]) -> tuple[VersionRow, FileEntry | None]:
    *columns, path, size_bytes, sha256 = found
    entry = None if path is None else FileEntry(path, size_bytes, sha256)
    return row_of(VersionRow, columns), entry


def _no_artifact(version_id: str) -> ArtifactNotFoundError:
    return ArtifactNotFoundError(f"there is no artifact {version_id[:80]!r}")
