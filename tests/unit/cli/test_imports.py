"""How an import shows that it goes on."""

from collections.abc import Iterator

import pytest

from registry.cli.imports import progress_of
from registry.importing.mlflow_source import MlflowServer
from registry.importing.report import Count, Report
from registry.importing.states import SourceModel
from tests.unit.cli.conftest import Run


def test_a_log_gets_a_line_now_and_then_and_one_at_the_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = Report("http://mlflow.example")

    with progress_of(report) as show:
        for done in range(121):
            report.counts[Count.MODELS_CREATED] = done
            show(done, 120, f"model {done}")

    assert capsys.readouterr().err.splitlines() == [
        "50 of 120 models, 50 changes",
        "100 of 120 models, 100 changes",
        "120 of 120 models, 120 changes",
    ]


def test_a_log_of_no_models_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_of(Report("http://mlflow.example")) as show:
        show(0, 0, "")

    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar_that_names_the_model(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)

    with progress_of(Report("http://mlflow.example")) as show:
        show(1, 3, "fraud [bold]\x1b[2J")

    captured = capsys.readouterr()
    assert captured.out == ""
    assert "fraud [bold]\\x1b[2J" in captured.err


@pytest.mark.parametrize(
    ("uri", "environ", "is_warned"),
    [
        ("http://mlflow.example:1", {"MLFLOW_TRACKING_TOKEN": "t"}, True),
        ("http://mlflow.example:1", {}, False),
        ("https://mlflow.example:1", {"MLFLOW_TRACKING_TOKEN": "t"}, False),
        ("http://127.0.0.1:1", {"MLFLOW_TRACKING_TOKEN": "t"}, False),
    ],
)
def test_credentials_that_travel_in_clear_are_warned_about(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    *,
    uri: str,
    environ: dict[str, str | None],
    is_warned: bool,
) -> None:
    def nobody(_server: MlflowServer) -> Iterator[SourceModel]:
        return iter(())

    monkeypatch.setattr(MlflowServer, "models", nobody)
    monkeypatch.setattr(MlflowServer, "prompts", nobody)

    done = run("import", "mlflow", "--from", uri, env=environ)

    assert done.exit_code == 0
    assert ("plain http" in done.stderr) is is_warned
