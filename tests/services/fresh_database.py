"""A PostgreSQL database that is made empty again faster than it is made anew.

To drop and copy one takes 0.2 s, to empty its tables 10 ms. Where a test has changed
the schema, it is copied all the same.
"""

from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from tests.services.postgres import PostgresServer

#: Its tables say which schema it has.
_KEPT = "alembic_version"
#: What a test may have changed of the schema: tables, indexes, triggers, the version.
_SHAPE = """
    SELECT (SELECT string_agg(version_num, ',') FROM alembic_version),
           (SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_class
             WHERE relnamespace = 'public'::regnamespace),
           (SELECT string_agg(tgname || tgenabled::text, ',' ORDER BY tgname)
              FROM pg_trigger WHERE NOT tgisinternal),
           (SELECT count(*) FROM pg_constraint)
"""


class FreshDatabase:
    """A copy of a database that nothing else is connected to.

    Args:
        server: has both.
        template: the name of what is copied.
        copy: the name of the copy.
    """

    def __init__(self, server: PostgresServer, template: str, copy: str) -> None:
        self._server = server
        self._template = template
        self._copy = copy
        self.url = server.url(copy)
        server.create_database(copy, template=template)
        with self._connect() as connection:
            self._shape = connection.execute(_SHAPE).fetchone()
            tables = connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            ).fetchall()
            self._tables = [name for (name,) in tables if name != _KEPT]
            self._numbers = connection.execute(
                "SELECT sequencename, last_value FROM pg_sequences"
            ).fetchall()
            self._rows = {
                name: connection.execute(
                    sql.SQL("SELECT * FROM {}").format(sql.Identifier(name))
                ).fetchall()
                for name in self._tables
            }

    def restore(self) -> None:
        """Make it what it was at first."""
        try:
            with self._connect() as connection:
                is_whole = connection.execute(_SHAPE).fetchone() == self._shape
                if is_whole:
                    self._restore_rows(connection)
        except psycopg.Error:  # a table that the question names is gone
            is_whole = False
        if not is_whole:
            self._server.drop_database(self._copy)
            self._server.create_database(self._copy, template=self._template)

    def _restore_rows(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        listed = sql.SQL(", ").join(map(sql.Identifier, self._tables))
        # Else triggers forbid it of the audit log.
        connection.execute("SET session_replication_role = replica")
        connection.execute(sql.SQL("TRUNCATE {}").format(listed))
        for name, rows in self._rows.items():
            for row in rows:
                values = sql.SQL(", ").join([sql.Placeholder()] * len(row))
                connection.execute(
                    sql.SQL("INSERT INTO {} VALUES ({})").format(
                        sql.Identifier(name), values
                    ),
                    row,
                )
        for name, last in self._numbers:
            connection.execute(
                "SELECT setval(%s::regclass, %s, %s)",
                [name, last or 1, last is not None],
            )

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        plain = self.url.replace("postgresql+psycopg:", "postgresql:")
        return psycopg.connect(plain, row_factory=tuple_row)
