"""Progress on a terminal and in a log."""

import pytest

from registry.cli.progress import transfer_progress

TOTAL = 20_000_000


def test_a_log_gets_a_line_for_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    with transfer_progress("Uploading") as report:
        for done in range(0, TOTAL + 1, TOTAL // 100):
            report(done, TOTAL)

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[-1] == f"Uploading: {TOTAL} of {TOTAL} bytes"


@pytest.mark.parametrize("total", [0, 1000])
def test_a_small_transfer_is_not_worth_a_line(
    capsys: pytest.CaptureFixture[str], total: int
) -> None:
    with transfer_progress("Uploading") as report:
        report(total, total)

    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)

    with transfer_progress("Uploading") as report:
        report(TOTAL // 2, TOTAL)

    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Uploading" in captured.err
