"""One life of the target: started from a fork server, ended by SIGKILL."""

import contextlib
import http.client
import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from multiprocessing import forkserver

from tests.crash.databases import Environment
from tests.crash.ledger import Operation, ReceivedAnswer
from tests.crash.target import TargetOptions, run
from tests.integration.conftest import TOKEN
from tests.waiting import STALL_SECONDS

START_SECONDS = 30.0
# A server of its own forks the targets: it has no threads and no connections.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.crash.warm"])


def start_fork_server(environment: Environment) -> None:
    """Start it, and wait until it is warm; one that runs already stays as it is."""
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)
    first = _CONTEXT.Process(target=os.getpid)
    first.start()
    first.join()


class Incarnation:
    """A running target. ``died_at`` is the point it named before its kill."""

    def __init__(self, options: TargetOptions) -> None:
        self.died_at: str | None = None
        self.unknown_points: set[str] = set()
        self._pipe, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(
            target=run, args=(options, theirs), daemon=True
        )
        self._process.start()
        theirs.close()
        self.port = self._await_port(options)

    @property
    def has_died(self) -> bool:
        """Whether the trap has sprung; what it told is read then."""
        if self._process.is_alive():
            return False
        self._read_all()
        if self._process.exitcode != -signal.SIGKILL:
            raise RuntimeError(f"the target ended with {self._process.exitcode}")
        return True

    def wait_for_death(self, timeout_seconds: float) -> bool:
        """Give the planned point time to be reached."""
        self._process.join(timeout_seconds)
        return self.has_died

    def kill(self) -> None:
        """End it from outside."""
        self._process.kill()
        self._process.join()
        self._read_all()
        self._pipe.close()
        self._process.close()

    def send(self, operation: Operation) -> ReceivedAnswer | None:
        """Ask for a change; None when no whole answer came."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=STALL_SECONDS
        )
        try:
            connection.request(
                "POST",
                f"/api/v1/{operation.path}",
                body=json.dumps(operation.body),
                headers={
                    "Authorization": f"Bearer {TOKEN}",
                    "Content-Type": "application/json",
                    "Idempotency-Key": operation.key,
                },
            )
            answer = connection.getresponse()
            text = answer.read().decode()
            is_replayed = answer.headers.get("Idempotent-Replayed") == "true"
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        return ReceivedAnswer(answer.status, text, is_replayed)

    def _await_port(self, options: TargetOptions) -> int:
        """The port; 0 when it died before it listened, as the plan may want."""
        while self._pipe.poll(START_SECONDS):
            try:
                told = self._pipe.recv()
            except EOFError:
                self._process.join()
                return 0
            if isinstance(told, int):
                return told
            self._take(told)
        self.kill()
        log = options.log_file.read_text(encoding="utf-8", errors="replace")
        raise RuntimeError(f"the target did not start:\n{log[-4000:]}")

    def _read_all(self) -> None:
        with contextlib.suppress(EOFError):
            while self._pipe.poll():
                self._take(self._pipe.recv())

    def _take(self, told: object) -> None:
        name = str(told)
        if name.startswith("?"):
            self.unknown_points.add(name[1:])
        else:
            self.died_at = name


@contextlib.contextmanager
def living(options: TargetOptions) -> Iterator[Incarnation]:
    """A target that is dead when the block ends."""
    incarnation = Incarnation(options)
    try:
        yield incarnation
    finally:
        incarnation.kill()
