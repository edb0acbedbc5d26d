"""Manifests as they are asked about: one file, a page, a directory, or all of one.

Rules:

- A part is read by the key, version and path: among 50,000 files it costs what it
  costs among 50. Paths are sorted by code points, as in the digest.
- All of a manifest has the digest of its version, or it is not read.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    Integer,
    Select,
    Text,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    select,
)

from registry.domain.manifests import FileEntry, Manifest
from registry.domain.rows import VersionRow
from registry.errors import (
    ArtifactNotFoundError,
    IntegrityViolationError,
    VersionNotFoundError,
)
from registry.persistence.aggregates import Position
from registry.persistence.queries import OF_LIVE, VERSION
from registry.persistence.statements import FILES, VERSIONS, row_of

_FILE = (FILES.c.path, FILES.c.size_bytes, FILES.c.sha256)
_BY_ID = OF_LIVE.where(
    VERSIONS.c.id == bindparam("id"), VERSIONS.c.artifact_digest.is_not(None)
)
_ALL = select(*_FILE).where(FILES.c.version_id == bindparam("id"))
_OF_PATH = and_(FILES.c.version_id == VERSIONS.c.id, FILES.c.path == bindparam("path"))
_FILE_NAMED = VERSION.outerjoin(FILES, _OF_PATH).add_columns(*_FILE)
_FILE_BY_ID = _BY_ID.outerjoin(FILES, _OF_PATH).add_columns(*_FILE)


def _first(version_id: ColumnElement[str], where: ColumnElement[bool]) -> Any:  # noqa: ANN401  # SQLAlchemy's
    """Return the first path; of single ones PostgreSQL never reads and sorts all."""
    path = select(FILES.c.path).where(FILES.c.version_id == version_id, where)
    return path.order_by(FILES.c.path).limit(literal_column("1")).scalar_subquery()


def _at(walk: CTE, column: str) -> Any:  # noqa: ANN401  # as above
    """Return a column of the file that a walk has come to."""
    value = select(FILES.c[column]).where(FILES.c.version_id == walk.c.id)
    return value.where(FILES.c.path == walk.c.path).scalar_subquery()


def _files_behind() -> Select[Any]:
    """Return a row a file, and one without a path where there are no more."""
    walk = VERSION.with_only_columns(
        VERSIONS.c.id,
        VERSIONS.c.artifact_digest,
        bindparam("most", type_=Integer).label("most"),
        _first(VERSIONS.c.id, FILES.c.path > bindparam("after")).label("path"),
    ).cte("walk", recursive=True)
    following = select(
        walk.c.id,
        walk.c.artifact_digest,
        walk.c.most - 1,
        _first(walk.c.id, FILES.c.path > walk.c.path),
    )
    walk = walk.union_all(following.where(walk.c.most > 1, walk.c.path.is_not(None)))
    file = (walk.c.path, _at(walk, "size_bytes"), _at(walk, "sha256"))
    return select(walk.c.artifact_digest, *file)


def _children() -> Select[Any]:
    """Return the path if it is a file; the first file of each child, and what follows.

    The next child is found behind all paths that begin with the one before: behind a
    directory ``d/``, that is from ``d0`` on, and behind a file from its name and the
    least character that a path may have.
    """
    prefix = bindparam("prefix", type_=Text)
    walk = _BY_ID.with_only_columns(
        VERSIONS.c.id,
        select(FILES.c.path).where(_OF_PATH).scalar_subquery().label("file"),
        _first(VERSIONS.c.id, FILES.c.path >= prefix).label("path"),
    ).cte("walk", recursive=True)
    path, length = walk.c.path, func.length(prefix)
    slash = Position(func.substr(path, length + 1), "/")
    directory = func.substr(path, 1, length + slash - 1)
    behind = case((slash > 0, directory + "0"), else_=path + " ")
    following = select(
        walk.c.id, walk.c.file, _first(walk.c.id, FILES.c.path >= behind)
    )
    walk = walk.union_all(following.where(func.substr(path, 1, length) == prefix))
    return select(walk.c.file, walk.c.path, _at(walk, "size_bytes")).order_by(
        walk.c.path
    )


_FILES_BEHIND = _files_behind()
_CHILDREN = _children()


def manifest_of(cx: Connection, version: VersionRow) -> Manifest:
    """Return the whole manifest of a version that has a digest.

    Raises:
        IntegrityViolationError: when its files are not what was digested.
    """
    rows = cx.execute(_ALL, {"id": version.id})
    return Manifest.stored(rows, version.artifact_digest or "")


def files_behind(
    cx: Connection, name: str, number: int, *, after: str | None, limit: int
) -> list[FileEntry]:
    """Files of a version by path, from the one behind ``after`` on.

    Raises:
        NotFoundError: when model or version do not exist.
        IntegrityViolationError: when a version with a digest has none.
    """
    values = {"name": name, "number": number, "after": after or "", "most": limit}
    rows = cx.execute(_FILES_BEHIND, values).all()
    if not rows:
        raise VersionNotFoundError(name, number)
    files = sorted(FileEntry(*file) for _, *file in rows if file[0] is not None)
    if not files and after is None and rows[0].artifact_digest:
        raise IntegrityViolationError(f"version {number} has lost its manifest")
    return files


def find_file(
    cx: Connection, name: str, number: int, path: str
) -> tuple[VersionRow, FileEntry | None]:
    """Return a version, and its file of this path if it has one.

    Raises:
        NotFoundError: when model or version do not exist.
    """
    values = {"name": name, "number": number, "path": path}
    row = cx.execute(_FILE_NAMED, values).one_or_none()
    if row is None:
        raise VersionNotFoundError(name, number)
    return _version_and_file(row)


def find_file_by_id(
    cx: Connection, version_id: str, path: str
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
    row = cx.execute(_FILE_BY_ID, values).one_or_none()
    if row is None:
        raise _no_artifact(version_id)
    return _version_and_file(row)


def children(
    cx: Connection, version_id: str, directory: str
) -> list[tuple[str, int | None]] | None:
    """Return what lies in a directory, by name: a file with its size, or a directory.

    An empty text is the artifact itself. Nothing lies in a file, and None is answered
    for what is not there. What is below a directory is passed over.

    Raises:
        ArtifactNotFoundError: as ``find_file_by_id``.
    """
    prefix = f"{directory}/" if directory else ""
    values = {"id": version_id, "path": directory, "prefix": prefix}
    rows = cx.execute(_CHILDREN, values).all()
    if not rows:
        raise _no_artifact(version_id)
    below = [
        (path[len(prefix) :].partition("/"), size_bytes)
        for _, path, size_bytes in rows
        if path is not None and path.startswith(prefix)
    ]
    entries = [(name, None if slash else size) for (name, slash, _), size in below]
    return entries if entries or rows[0].file else None


def _version_and_file(row: Sequence[Any]) -> tuple[VersionRow, FileEntry | None]:
    *columns, path, size_bytes, sha256 = row
    entry = None if path is None else FileEntry(path, size_bytes, sha256)
    return row_of(VersionRow, columns), entry


def _no_artifact(version_id: str) -> ArtifactNotFoundError:
    return ArtifactNotFoundError(f"there is no artifact {version_id[:80]!r}")
