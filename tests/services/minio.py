"""A real MinIO server for the tests, started in a directory of its own.

- The program comes from PATH, else from the cache, else it is built into the
  cache once where Go is there (about three minutes on two cores).
- Where none of these is possible, ``moto`` serves the S3 protocol over HTTP and
  the head of the test run says so. ``CI=true`` requires the real one.
- It listens on 127.0.0.1 only, with credentials made for this run.
"""

import contextlib
import dataclasses
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import requests
from minio import Minio

from tests.services.absence import is_required
from tests.services.cache import cache_directory
from tests.services.go_build import GoBuildError, build, can_build
from tests.services.processes import (
    ServiceStartError,
    free_port,
    stop,
    wait_until_ready,
)

PACKAGE = "github.com/minio/minio@v0.0.0-20250907161309-07c3a429bfed"
RELEASE = "RELEASE.2025-09-07T16-13-09Z"
START_ATTEMPTS = 3
WITHOUT_MINIO = "no minio on PATH or in the cache, and no Go that can build it"


def cached_program() -> Path:
    """Where the built program is kept from one run to the next."""
    return cache_directory() / "bin" / "minio"


def find_program() -> Path | None:
    """The MinIO program on PATH or in the cache."""
    on_path = shutil.which("minio")
    if on_path:
        return Path(on_path)
    cached = cached_program()
    return cached if os.access(cached, os.X_OK) else None


def describe() -> str:
    """What the tests will talk to, in half a line."""
    program = find_program()
    if program is not None:
        return f"MinIO ({program})"
    if can_build():
        return "MinIO, to be built first (once, about three minutes)"
    if is_required():
        return f"MISSING: {WITHOUT_MINIO}; CI=true requires it"
    return f"moto's server, NOT a real MinIO: {WITHOUT_MINIO}"


def provide_program() -> Path | None:
    """The program, built now when that is still to be done; None without one."""
    program = find_program()
    if program is not None or not can_build():
        return program
    try:
        build(PACKAGE, cached_program())
    except GoBuildError:
        return None
    return cached_program()


@dataclasses.dataclass(frozen=True)
class ObjectStoreServer:
    """A running server that speaks the S3 protocol."""

    endpoint_url: str
    access_key: str
    secret_key: str
    is_real: bool
    process: subprocess.Popen[bytes]
    description: str
    region: str = "us-east-1"

    def client(self) -> Minio:
        """A client of this server."""
        return Minio(
            endpoint=self.endpoint_url.removeprefix("http://"),
            access_key=self.access_key,
            secret_key=self.secret_key,
            region=self.region,
            secure=False,
        )

    def settings(self) -> dict[str, str]:
        """The environment that points the registry at this server."""
        return {
            "STAGEGATE_S3_ENDPOINT_URL": self.endpoint_url,
            "STAGEGATE_S3_ACCESS_KEY": self.access_key,
            "STAGEGATE_S3_SECRET_KEY": self.secret_key,
            "STAGEGATE_S3_REGION": self.region,
        }

    def remove_bucket(self, name: str) -> None:
        """Remove the bucket with everything in it, when it exists."""
        client = self.client()
        if not client.bucket_exists(bucket_name=name):
            return
        for found in client.list_objects(
            bucket_name=name, recursive=True, include_version=self.is_real
        ):
            client.remove_object(
                bucket_name=name,
                object_name=str(found.object_name),
                version_id=found.version_id,
            )
        client.remove_bucket(bucket_name=name)


@contextlib.contextmanager
def run_server(program: Path | None) -> Iterator[ObjectStoreServer]:
    """A server for the time of the block; without a program it is moto's."""
    with tempfile.TemporaryDirectory(
        prefix="stagegate-minio-", ignore_cleanup_errors=True
    ) as directory:
        server = _start(program, Path(directory))
        try:
            yield server
        finally:
            stop(server.process)


def _start(program: Path | None, directory: Path) -> ObjectStoreServer:
    """Start on a free port; another program may take it first, so try again."""
    access_key, secret_key = f"test{secrets.token_hex(6)}", secrets.token_hex(20)
    for attempt in range(START_ATTEMPTS):
        log_file = directory / f"server-{attempt}.log"
        port = free_port()
        command = _minio_command(program, directory, port) if program else _moto(port)
        environment = _environment(directory, access_key, secret_key)
        server = ObjectStoreServer(
            endpoint_url=f"http://127.0.0.1:{port}",
            access_key=access_key,
            secret_key=secret_key,
            is_real=program is not None,
            process=_spawn(command, environment, log_file),
            description=f"MinIO ({program})" if program else "moto, NOT a real MinIO",
        )
        try:
            _wait(server, log_file)
        except ServiceStartError:
            stop(server.process)
            if attempt == START_ATTEMPTS - 1:
                raise
        else:
            return server
    raise AssertionError("the last attempt returns or raises")


def _minio_command(program: Path, directory: Path, port: int) -> list[str | Path]:
    return [
        *(program, "server", "--quiet"),
        *("--address", f"127.0.0.1:{port}"),
        *("--console-address", f"127.0.0.1:{free_port()}"),
        *("--certs-dir", directory / "certs"),
        directory / "data",
    ]


def _moto(port: int) -> list[str | Path]:
    return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]


def _environment(directory: Path, access_key: str, secret_key: str) -> dict[str, str]:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MINIO_", "AWS_"))
    }
    return environment | {
        "HOME": str(directory),
        "MINIO_ROOT_USER": access_key,
        "MINIO_ROOT_PASSWORD": secret_key,
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
    }


def _spawn(
    command: list[str | Path], environment: Mapping[str, str], log_file: Path
) -> subprocess.Popen[bytes]:
    with log_file.open("wb") as log:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _wait(server: ObjectStoreServer, log_file: Path) -> None:
    path = "/minio/health/ready" if server.is_real else "/moto-api/"

    def is_ready() -> bool:
        try:
            return requests.get(server.endpoint_url + path, timeout=2).ok
        except requests.RequestException:
            return False

    wait_until_ready(server.process, is_ready, log_file=log_file)
