"""A real PgBouncer in transaction mode, in front of the tests' PostgreSQL.

It has few sessions of the server's: each transaction is likely to get another one.
"""

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg

from tests.services.absence import report_absence
from tests.services.postgres import PostgresServer, server_account
from tests.services.processes import free_port, stop, wait_until_ready

SESSIONS = 3
_CONFIGURATION = """\
[databases]
* = host=127.0.0.1 port={server_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {directory}/users
pool_mode = transaction
default_pool_size = {sessions}
max_client_conn = 500
"""


@dataclasses.dataclass
class Pgbouncer:
    """A pooler that can be ended and started again at the same port."""

    program: str
    directory: Path
    server: PostgresServer
    port: int
    process: subprocess.Popen[bytes] | None = None

    def through(self, url: str) -> str:
        """The URL that leads here instead of to the server itself."""
        return url.replace(f":{self.server.port}/", f":{self.port}/")

    def start(self) -> None:
        """Start it and wait until it answers."""
        log_file = self.directory / "log"
        account = server_account()
        with log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [self.program, self.directory / "pgbouncer.ini"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                user=account and account.pw_uid,
            )
        wait_until_ready(
            self.process,
            self._is_answering,
            log_file=log_file,
        )

    def end(self) -> None:
        """End it at once, with every connection that it holds."""
        assert self.process is not None
        stop(self.process, stop_signal=signal.SIGTERM)

    def _is_answering(self) -> bool:
        try:
            psycopg.connect(
                host="127.0.0.1",
                port=self.port,
                user="stagegate",
                password=self.server.password,
                dbname="postgres",
                connect_timeout=2,
            ).close()
        except psycopg.OperationalError:
            return False
        return True


def find_program() -> str | None:
    """Where PgBouncer is; Debian puts it where only root looks."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextlib.contextmanager
def run_pgbouncer(server: PostgresServer) -> Iterator[Pgbouncer]:
    """A pooler for the time of the block; skips or fails where there is none."""
    program = find_program()
    if program is None:
        report_absence("no pgbouncer (Debian's package of that name)")
    with tempfile.TemporaryDirectory(prefix="stagegate-pgbouncer-") as name:
        directory = Path(name)
        pooler = Pgbouncer(program, directory, server, free_port())
        values = {"server_port": server.port, "port": pooler.port}
        configuration = _CONFIGURATION.format(
            directory=directory, sessions=SESSIONS, **values
        )
        (directory / "pgbouncer.ini").write_text(configuration, encoding="utf-8")
        users = f'"stagegate" "{server.password}"\n'
        (directory / "users").write_text(users, encoding="utf-8")
        account = server_account()
        if account is not None:
            for path in (directory, *directory.iterdir()):
                os.chown(path, account.pw_uid, account.pw_gid)
        pooler.start()
        try:
            yield pooler
        finally:
            pooler.end()
