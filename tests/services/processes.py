"""Starting and stopping the server processes that the tests need.

- Every process is stopped by its own id, never by name.
- Output goes to a file in the server's own directory and is shown on failure.
"""

import contextlib
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.fork_server import Forked
from tests.waiting import STALL_SECONDS, wait_for


class ServiceStartError(RuntimeError):
    """The server did not come up."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def is_listening(port: int) -> bool:
    """Whether somebody listens on this TCP port of 127.0.0.1; to ask costs nothing."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until_ready(
    process: subprocess.Popen[bytes] | Forked,
    is_ready: Callable[[], bool],
    *,
    log_file: Path,
) -> None:
    """Poll ``is_ready`` until it holds.

    Raises:
        ServiceStartError: the process ended, or does not get on; its log is quoted.
    """

    def look() -> tuple[bool, int]:
        if is_ready():
            return True, 0
        if process.poll() is not None:
            raise TimeoutError
        return False, log_file.stat().st_size

    try:
        wait_for(look, lambda seen: seen[0])
    except TimeoutError as error:
        output = log_file.read_text(encoding="utf-8", errors="replace")
        raise ServiceStartError(
            f"{process.args!r} is not answering "
            f"(exit code {process.poll()}):\n{output[-4000:]}"
        ) from error


def stop(
    process: subprocess.Popen[bytes] | Forked, *, stop_signal: int = signal.SIGTERM
) -> None:
    """Ask the process to end, and kill it when it does not."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(stop_signal)
    try:
        process.wait(STALL_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
