"""All that a registry has stored, kept so as to be put back."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import URL

from tests.services.fresh_database import Contents, connect

if TYPE_CHECKING:  # it imports what imports this
    from tests.integration.api.driver import Driver

Told = TypeVar("Told")

_MADE: dict[tuple[object, ...], tuple[Any, Callable[[], None]]] = {}


def made_once(make: "Callable[[Driver], Told]", api: "Driver") -> Told:
    """What ``make`` tells of what it makes of an empty registry.

    From the second time on in the same place it is put there as it was.
    """
    url, root = api.engine.url, Path(api.parts.settings.artifact_root)
    place = (make, str(url), root)
    if place in _MADE:
        told, put_back = _MADE[place]
        put_back()
    else:
        told = make(api)
        _MADE[place] = told, keep(url, root)
    return told  # type: ignore[no-any-return]


def keep(url: URL, root: Path) -> Callable[[], None]:
    """What puts the rows of the database and the files below ``root`` back."""
    put_rows_back = (
        _keep_sqlite(str(url.database))
        if url.drivername.startswith("sqlite")
        else _keep_postgres(url.render_as_string(hide_password=False))
    )
    put_files_back = _keep_files(root)

    def put_back() -> None:
        put_rows_back()
        put_files_back()

    return put_back


def _keep_sqlite(file: str) -> Callable[[], None]:
    kept = sqlite3.connect(":memory:")
    with closing(sqlite3.connect(file)) as connection:
        connection.backup(kept)

    def put_back() -> None:
        with closing(sqlite3.connect(file)) as connection:
            kept.backup(connection)

    return put_back


def _keep_postgres(url: str) -> Callable[[], None]:
    with connect(url) as connection:
        kept = Contents.of(connection)

    def put_back() -> None:
        with connect(url) as connection:
            kept.write(connection)

    return put_back


def _keep_files(root: Path) -> Callable[[], None]:
    kept = [
        (file, file.stat().st_mode, file.read_bytes())
        for file in root.rglob("*")
        if file.is_file()
    ]

    def put_back() -> None:
        shutil.rmtree(root)
        root.mkdir()
        for file, mode, content in kept:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            file.chmod(mode)

    return put_back
