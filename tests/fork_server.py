"""``stagegate`` without the second and a half that it takes to load.

A fork server, a process of its own with one thread and no connection, has loaded all
that ``serve`` needs. What it forks has the session, directory, environment and output
that was asked for, and goes on as ``registry.cli.main`` does. How the program starts
by itself is asked by those tests that start it so.
"""

import atexit
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

_ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Forked:
    """A forked ``stagegate``, with what tests use of ``subprocess.Popen``."""

    args: Sequence[str]
    pid: int
    returncode: int | None = field(default=None, init=False)

    @classmethod
    def start(
        cls, args: Sequence[str], *, env: Mapping[str, str], cwd: Path, log_file: Path
    ) -> Self:
        """Fork one with these arguments, the leader of a session of its own."""
        order = tuple(args), dict(env), str(cwd), str(log_file)
        return cls(args, _fork_server().ask(order))

    def poll(self) -> int | None:
        """The exit code, or minus the signal; None while it runs."""
        return self._code_within(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: it goes on after so many seconds.
        """
        code = self._code_within(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def _code_within(self, seconds: float | None) -> int | None:
        if self.returncode is None:
            descriptor = os.pidfd_open(self.pid)
            try:
                has_ended = select.select([descriptor], [], [], seconds)[0]
            finally:
                os.close(descriptor)
            if has_ended:
                self.returncode = _fork_server().ask(self.pid)
        return self.returncode


class _ForkServer:
    def __init__(self) -> None:
        self._connection, theirs = Pipe()
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fork_server", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            cwd=_ROOT,
            start_new_session=True,
        )
        theirs.close()
        atexit.register(self._end)

    def _end(self) -> None:
        self._connection.close()
        self._process.wait()

    def ask(self, order: Any) -> int:  # noqa: ANN401  # see ``_obey``
        with self._lock:
            self._connection.send(order)
            answer: int = self._connection.recv()
        return answer


@cache
def _fork_server() -> _ForkServer:
    """The one of this process, which ends with it."""
    return _ForkServer()


def _obey(connection: Connection) -> None:
    """Start what is asked for, and tell its id; of an id, tell how it ended."""
    import uvloop  # noqa: F401  # uvicorn asks for it by name

    import registry.cli.server  # noqa: F401  # the command line asks for it by name
    from registry.cli.main import main

    while True:
        try:
            order = connection.recv()
        except EOFError:
            return
        if isinstance(order, int):
            connection.send(os.waitstatus_to_exitcode(os.waitpid(order, 0)[1]))
        elif pid := os.fork():
            connection.send(pid)
        else:
            connection.close()
            _become(*order)
            main()
            return


def _become(args: Sequence[str], env: Mapping[str, str], cwd: str, log: str) -> None:
    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for number in (1, 2):
        os.dup2(output, number)
    os.close(output)
    sys.argv = ["stagegate", *args]


if __name__ == "__main__":
    _obey(Connection(int(sys.argv[1])))
