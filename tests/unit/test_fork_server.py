"""What is forked runs, and ends, as what is started does."""

import signal
import subprocess
from pathlib import Path

import pytest

from tests.fork_server import Forked
from tests.waiting import STALL_SECONDS


def forked(directory: Path, *args: str, **environment: str) -> Forked:
    return Forked.start(
        args, env=environment, cwd=directory, log_file=directory / "log"
    )


def test_exit_code_and_output_are_the_programs(tmp_path: Path) -> None:
    program = forked(tmp_path, "serve", WEB_CONCURRENCY="many")

    assert program.wait(STALL_SECONDS) == 2
    assert program.poll() == 2
    output = (tmp_path / "log").read_text(encoding="utf-8")
    assert "'WEB_CONCURRENCY'" in output
    assert "Usage: stagegate serve" in output


def test_environment_is_the_one_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "many")
    (tmp_path / "policy.toml").write_text("nonsense", encoding="utf-8")

    program = forked(tmp_path, "serve", STAGEGATE_POLICY_FILE="policy.toml")

    assert program.wait(STALL_SECONDS) == 2
    assert "policy.toml" in (tmp_path / "log").read_text(encoding="utf-8")


def test_one_that_runs_is_waited_for_and_killed(tmp_path: Path) -> None:
    program = forked(
        tmp_path, "serve", "--port", "0", STAGEGATE_DATA_DIR=str(tmp_path / "data")
    )
    assert program.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        program.wait(0.01)

    program.kill()

    assert program.wait(STALL_SECONDS) == -signal.SIGKILL
    program.send_signal(signal.SIGTERM)
