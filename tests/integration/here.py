"""A registry that answers over HTTP from this process, and an import into it.

It starts at once, where a server of its own takes seconds; what only a process can
show is tested with ``tests.server``.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from flask import Flask, request, request_started, request_tearing_down
from werkzeug.serving import make_server

from registry.cli.main import stagegate
from registry.client import ModelVersion, RegistryClient
from tests.integration.conftest import TOKEN, close_app, make_app
from tests.waiting import STALL_SECONDS


@dataclass(frozen=True)
class Here:
    """A registry that answers over HTTP from this process: it starts at once."""

    url: str
    app: Flask

    def client(self) -> RegistryClient:
        return RegistryClient(self.url, TOKEN)

    def run(self, *arguments: str, token: str = TOKEN) -> Result:
        environment = {"STAGEGATE_URL": self.url, "STAGEGATE_TOKEN": token}
        return CliRunner().invoke(stagegate, arguments, env=environment)

    def import_killed_at(self, change: int, source_url: str, *options: str) -> None:
        """Import in a process that is killed when its change of this number arrives.

        The change itself is made, and nobody is there to read the answer.
        """
        command = (sys.executable, "-m", "registry.cli.main", "import", "mlflow")
        environment = {
            **os.environ,
            "STAGEGATE_URL": self.url,
            "STAGEGATE_TOKEN": TOKEN,
        }
        processes: list[subprocess.Popen[bytes]] = []
        arrived = itertools.count(1)
        is_made = threading.Event()

        def kill(_app: Flask, **_extra: object) -> None:
            if request.method != "GET" and next(arrived) == change:
                os.kill(processes[0].pid, signal.SIGKILL)
                processes[0].wait()

        def note(_app: Flask, **_extra: object) -> None:
            if processes[0].returncode is not None:
                is_made.set()

        with (
            request_started.connected_to(kill, sender=self.app),
            request_tearing_down.connected_to(note, sender=self.app),
            subprocess.Popen(
                [*command, "--from", source_url, *options],
                env=environment,
                stdout=subprocess.DEVNULL,
            ) as process,
        ):
            processes.append(process)
            assert process.wait() == -signal.SIGKILL
            assert is_made.wait(STALL_SECONDS)

    def imported(self, source_url: str, *options: str, code: int = 0) -> Any:  # noqa: ANN401  the report
        """Import; a dry run before must have changed nothing and said the same."""
        command = ("import", "mlflow", "--from", source_url, "-o", "json", *options)
        entries = self.entries()
        foretold = self.run(*command, "--dry-run")
        assert self.entries() == entries
        done = self.run(*command)
        assert done.exit_code == code, (done.stdout, done.stderr)
        assert foretold.exit_code == code, (foretold.stdout, foretold.stderr)
        report = json.loads(done.stdout)
        # In a rehearsal the members of a version stand one deeper.
        said = json.loads(foretold.stdout.replace("\\nversion.", "\\n"))
        assert {**said, "dry_run": report["dry_run"]} == report
        return report

    def stages(self, model: str) -> dict[int, str]:
        """The stage of each version."""
        return {number: one.stage for number, one in self.versions(model).items()}

    def versions(self, model: str) -> dict[int, ModelVersion]:
        with self.client() as client:
            return {one.version: one for one in client.versions(model)}

    def entries(self) -> int:
        """How many entries the audit log has, over all its chains."""
        with self.client() as client:
            return sum(1 for _ in client.audit.entries())


@contextmanager
def serving(app: Flask) -> Iterator[Here]:
    """The application on a port of its own."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield Here(f"http://127.0.0.1:{server.server_port}", app)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def registry_in(directory: Path, **settings: str) -> Iterator[Here]:
    """A registry with these settings, and a database of its own."""
    app = make_app(directory, **settings)
    with serving(app) as here:
        yield here
    close_app(app)
