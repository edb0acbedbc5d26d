"""Trouble with the output is no failure of what was changed.

Each command is a process of its own, as only a process has the streams that break.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from registry.client import RegistryClient
from tests.receiver import Receiver
from tests.server import RunningServer, running_server

MODEL = "日本"
#: A shell's redirections of the command, by what is wrong.
TROUBLES = {
    "full disks": ">/dev/full 2>/dev/full",
    "closed streams": ">&- 2>&-",
}


@dataclass
class Shell:
    """Runs the command as a shell does."""

    server: RunningServer
    client: RegistryClient
    directory: Path

    def run(
        self, *arguments: str, redirected: str = "", **environment: str
    ) -> subprocess.CompletedProcess[bytes]:
        script = f'exec "$@" {redirected}'
        command = (sys.executable, "-m", "registry.cli.main", *arguments)
        return subprocess.run(
            ["bash", "-c", script, "bash", *command],
            env=self.environment(**environment),
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )

    def environment(self, **own: str) -> dict[str, str]:
        return {
            **os.environ,
            "STAGEGATE_URL": self.server.url,
            "STAGEGATE_TOKEN": self.server.token,
            **own,
        }

    def unread(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Run it into a pipe that nobody reads any more."""
        reading, writing = os.pipe()
        os.close(reading)
        try:
            return subprocess.run(
                (sys.executable, "-m", "registry.cli.main", *arguments),
                env=self.environment(),
                cwd=self.directory,
                stdout=writing,
                stderr=subprocess.PIPE,
                check=False,
            )
        finally:
            os.close(writing)


@pytest.fixture(scope="module")
def module_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def shell(module_server: RunningServer, tmp_path: Path) -> Iterator[Shell]:
    with module_server.client() as client:
        yield Shell(module_server, client, tmp_path)
        if any(model.name == MODEL for model in client.models()):
            client.delete_model(MODEL)
        for webhook in client.webhooks.list():
            client.webhooks.delete(webhook.id)


Done = Callable[..., None]


def doing(run: Callable[..., subprocess.CompletedProcess[bytes]]) -> Done:
    """Run a command that must say 0, and leave no traceback behind."""

    def done(*arguments: str) -> None:
        ended = run(*arguments)
        assert ended.returncode == 0, (arguments, ended.stderr)
        assert b"Traceback" not in ended.stderr
        assert b"Exception ignored" not in ended.stderr

    return done


def change_everything(shell: Shell, done: Done, receiver: Receiver) -> None:
    """Every command that changes something; each must have done so."""
    change_versions(shell, done)
    change_webhooks(shell, done, receiver)
    done("tokens", "create", MODEL, "--role", "viewer")
    token = next(one for one in shell.client.tokens.list() if one.name == MODEL)
    done("tokens", "revoke", token.id, "--yes", "-o", "json")
    done("models", "delete", MODEL, "--yes")
    assert all(model.name != MODEL for model in shell.client.models())


def change_versions(shell: Shell, done: Done) -> None:
    client, file = shell.client, shell.directory / "model.bin"
    file.write_bytes(b"weights")
    done("models", "create", MODEL)
    done("register", MODEL, str(file))
    done("promote", MODEL, "1", "--to", "Staging")
    done("promote", MODEL, "1", "--to", "Production", "-o", "json", "--wait", "20")
    file.write_bytes(b"other")
    done("register", MODEL, str(file), "-o", "json")
    done("promote", MODEL, "2", "--to", "Staging")
    for _ in range(2):  # the second time, it is told what was done
        key = ("--idempotency-key", shell.directory.name)
        done("promote", MODEL, "2", "--to", "Production", *key)
    done("rollback", MODEL)
    done("archive", MODEL, "1", "-o", "json")
    assert [one.stage for one in client.versions(MODEL)] == ["Archived", "Archived"]
    done("alias", "set", MODEL, "champion", "1")
    done("alias", "delete", MODEL, "champion")
    report = ("--environment", MODEL, "--status", "succeeded")
    done("deployments", "report", MODEL, "1", *report)
    done("versions", "download", MODEL, "1", "--to", str(shell.directory / "got"))
    assert (shell.directory / "got" / "model.bin").read_bytes() == b"weights"


def change_webhooks(shell: Shell, done: Done, receiver: Receiver) -> None:
    done("webhooks", "create", receiver.url, "--description", MODEL)
    (webhook,) = shell.client.webhooks.list()
    done("webhooks", "update", webhook.id, "--description", f"{MODEL}, again")
    done("webhooks", "rotate-secret", webhook.id)
    done("webhooks", "test", webhook.id)
    (ping,) = shell.client.webhooks.deliveries(webhook.id)
    done("webhooks", "redeliver", ping.id)
    done("webhooks", "redeliver", webhook.id, "--state", "dead", "-o", "json")
    done("webhooks", "delete", webhook.id, "--yes")


@pytest.mark.long
@pytest.mark.parametrize("redirected", TROUBLES.values(), ids=TROUBLES)
def test_change_stands_when_nothing_can_be_printed(
    shell: Shell, receiver: Receiver, redirected: str
) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        return shell.run(*arguments, redirected=redirected)

    change_everything(shell, doing(run), receiver)


@pytest.mark.long
def test_change_stands_when_nobody_reads(shell: Shell, receiver: Receiver) -> None:
    change_everything(shell, doing(shell.unread), receiver)


@pytest.mark.long
def test_change_stands_when_the_encoding_lacks_characters(
    shell: Shell, receiver: Receiver
) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        return shell.run(*arguments, PYTHONIOENCODING="cp1252")

    change_everything(shell, doing(run), receiver)


def test_what_cannot_be_encoded_is_escaped_and_json_means_the_same(
    shell: Shell,
) -> None:
    shell.client.create_model(MODEL, description="größe 😀")

    texts = [
        shell.run(*arguments, PYTHONIOENCODING="cp1252")
        for arguments in (
            ("models", "show", MODEL, "-o", "json"),
            ("models", "list", "-o", "json"),
            ("models", "show", MODEL),
            ("models", "show", "größe", "-o", "json"),
        )
    ]

    shown, listed, table, refused = texts
    assert json.loads(shown.stdout)["description"] == "größe 😀"
    assert MODEL in {one["name"] for one in json.loads(listed.stdout)["items"]}
    assert b"\\u65e5\\u672c" in table.stdout
    assert "größe" in json.loads(refused.stderr.decode("cp1252"))["detail"]
    assert [one.returncode for one in texts] == [0, 0, 0, 5]


def test_why_a_change_could_not_be_printed_is_said(shell: Shell) -> None:
    full = shell.run("models", "create", MODEL, redirected=">/dev/full")
    unread = shell.unread("alias", "delete", MODEL, "absent")

    assert full.stderr == b"Done, but it cannot be printed: No space left on device.\n"
    assert unread.returncode == 5


def test_reading_that_cannot_be_printed_has_failed(shell: Shell) -> None:
    shell.client.create_model(MODEL)

    for arguments in (
        ("models", "list"),
        ("models", "show", MODEL, "-o", "json"),
        ("audit", "export"),
        ("events", "--follow"),
    ):
        full = shell.run(*arguments, redirected=">/dev/full")
        unread = shell.unread(*arguments)

        assert full.returncode == 1, arguments
        assert b"[Errno 28] No space left on device" in full.stderr
        assert b"Traceback" not in full.stderr
        assert unread.returncode == 1, arguments
        assert unread.stderr == b""


def test_export_is_the_same_bytes_in_every_encoding(shell: Shell) -> None:
    shell.client.create_model(MODEL)

    exports = [
        shell.run("audit", "export", PYTHONIOENCODING=encoding)
        for encoding in ("ascii", "utf-8")
    ]

    assert exports[0].stdout == exports[1].stdout
    assert exports[0].stdout.startswith(b'{"format": "stagegate-audit-export/')
