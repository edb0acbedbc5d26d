"""All that a registry has stored, kept so as to be put back."""

import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing

from sqlalchemy import URL

from tests.services.fresh_database import Contents, connect


def keep(url: URL, root: str) -> Callable[[], None]:
    """What puts the rows of the database and the files below ``root`` back.

    Both must be as they are at first when it is called.
    """
    files = tempfile.TemporaryDirectory()
    shutil.copytree(root, files.name, dirs_exist_ok=True)
    put_rows_back = (
        _keep_sqlite(str(url.database))
        if url.drivername.startswith("sqlite")
        else _keep_postgres(url.render_as_string(hide_password=False))
    )

    def put_back() -> None:
        put_rows_back()
        shutil.copytree(files.name, root, dirs_exist_ok=True)

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
