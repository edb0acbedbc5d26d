"""A real nginx on 127.0.0.1, with the lines that the README gives.

The lines are the README's own, with the ports of the test's servers in place of those
that people would write.
"""

import contextlib
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.services.absence import report_absence
from tests.services.processes import free_port, stop, wait_until_ready

README = Path(__file__).parents[2] / "README.md"
# One process without another user: it is the test's own.
_CONFIGURATION = """\
daemon off;
master_process off;
pid {directory}/pid;
error_log {directory}/log warn;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port};
        {lines}
    }}
}}
"""


def find_program() -> str | None:
    """Where nginx is; Debian puts it where only root looks."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


def readme_lines(containing: str) -> str:
    """The README's block of nginx lines in which this stands."""
    blocks = re.findall(r"```nginx\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    (block,) = [block for block in blocks if containing in block]
    return str(block)


@contextlib.contextmanager
def run_nginx(
    lines: str, ports: Mapping[int, int], *, port: int | None = None
) -> Iterator[str]:
    """The address of a server with these lines; skips or fails without nginx.

    Args:
        lines: what stands in nginx's ``server``.
        ports: the test's ports, by those that the lines have.
        port: where it listens; any free one by default.
    """
    program = find_program()
    if program is None:
        report_absence("no nginx (Debian's package nginx-light)")
    for written, own in ports.items():
        assert f"127.0.0.1:{written}" in lines, written
        lines = lines.replace(f"127.0.0.1:{written}", f"127.0.0.1:{own}")
    port = port or free_port()
    with tempfile.TemporaryDirectory(prefix="stagegate-nginx-") as name:
        directory = Path(name)
        configuration = directory / "nginx.conf"
        configuration.write_text(
            _CONFIGURATION.format(directory=directory, port=port, lines=lines)
        )
        log_file = directory / "log"
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                [program, "-p", directory, "-c", configuration, "-e", log_file],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until_ready(
                process,
                lambda: _is_listening(port),
                log_file=log_file,
            )
            yield f"http://127.0.0.1:{port}"
        finally:
            stop(process)


def _is_listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
