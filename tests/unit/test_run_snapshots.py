"""What is kept of a run: which of its words, and within which bounds."""

import math
from typing import Any

import pytest

from registry.domain.commands.registration import LinkedSource, VersionDetails
from registry.services.run_snapshots import (
    MAX_DATASETS,
    MAX_DATASETS_CHARACTERS,
    MAX_METRICS,
    MAX_OMITTED_CHARACTERS,
    MAX_PARAMS_CHARACTERS,
    MAX_TAGS_CHARACTERS,
    with_run,
)
from registry.services.sources import ResolvedSource
from registry.tracking.client import TrackingAccess, TrackingServer
from registry.tracking.documents import DatasetInput, LoggedModel, Run

#: Never asked: the run is known already.
TRACKING = TrackingServer(TrackingAccess(url="https://mlflow.example"))
RUN_ID = "3f2a"


def completed(
    model: LoggedModel | None = None,
    **members: Any,  # noqa: ANN401  # as Run has them
) -> VersionDetails:
    """What is known of a version whose run was read with its source."""
    resolved = known(model, Run(run_id=RUN_ID, **members))
    return with_run(VersionDetails(run_id=RUN_ID), TRACKING, resolved)


def known(model: LoggedModel | None, run: Run | None = None) -> ResolvedSource:
    return ResolvedSource(
        link=LinkedSource(source="runs:/3f2a/model"),
        details=VersionDetails(run_id=RUN_ID),
        run=run,
        logged_model=model,
    )


def snapshot_of(**members: Any) -> dict[str, Any]:  # noqa: ANN401  # as Run has them
    found = completed(**members).run
    assert found is not None
    return dict(found)


def dataset(name: str, **members: str) -> DatasetInput:
    return DatasetInput(
        **{"name": name, "digest": "", "source": "", "context": "", **members}
    )


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"mlflow.user": "bob"}, {"user": "bob"}),
        (
            {"mlflow.source.name": "train.py", "mlflow.source.type": "LOCAL"},
            {"entry_point": "train.py", "source_type": "LOCAL"},
        ),
        (
            {
                "mlflow.source.name": "git@host:risk",
                "mlflow.source.type": "PROJECT",
                "mlflow.project.entryPoint": "main",
            },
            {
                "project": "git@host:risk",
                "entry_point": "main",
                "source_type": "PROJECT",
            },
        ),
        (
            {"mlflow.source.git.repoURL": "https://host/risk.git"},
            {"project": "https://host/risk.git"},
        ),
        (
            {"mlflow.source.git.repoURL": "https://user:pw-1@host/risk.git?ref=a"},
            {"project": "https://***@host/risk.git?ref=a"},
        ),
        ({"mlflow.log-model.history": "[]", "mlflow.runName": "x"}, {}),
        ({"team": "risk"}, {"tags": {"team": "risk"}}),
    ],
)
def test_tags_of_mlflow_have_a_meaning(
    tags: dict[str, str], expected: dict[str, Any]
) -> None:
    assert snapshot_of(tags=tags) == {"run_id": RUN_ID, **expected}


def test_user_is_the_servers_where_no_tag_says_it() -> None:
    assert snapshot_of(user="alice")["user"] == "alice"
    assert snapshot_of(user="root", tags={"mlflow.user": "bob"})["user"] == "bob"


@pytest.mark.parametrize("milliseconds", [None, 0, 2**62])
def test_time_that_is_none_is_left_out(milliseconds: int | None) -> None:
    assert snapshot_of(start_ms=milliseconds, end_ms=1) == {
        "run_id": RUN_ID,
        "end_time": "1970-01-01T00:00:00.001000Z",
    }


@pytest.mark.parametrize(
    ("steps_of_run", "steps_of_model", "expected"),
    [
        ({"loss": 9}, {}, 0.1),
        ({"loss": 9}, {"loss": 3}, 0.7),
        ({}, {}, 0.7),
        ({"other": 9}, {}, 0.7),
    ],
)
def test_first_value_of_a_series_gives_way_to_the_last_one_of_the_run(
    steps_of_run: dict[str, int], steps_of_model: dict[str, int], expected: float
) -> None:
    model = LoggedModel(
        model_id="m-1", metrics={"loss": 0.7}, metric_steps=steps_of_model
    )

    details = completed(model, metrics={"loss": 0.1}, metric_steps=steps_of_run)

    assert details.metrics == {"loss": expected}


def test_zero_at_the_start_of_a_series_casts_no_doubt_on_its_end() -> None:
    model = LoggedModel(model_id="m-1", metrics={"accuracy": 0.0})

    details = completed(model, metrics={"accuracy": 0.9}, metric_steps={"accuracy": 5})

    assert details.metrics == {"accuracy": 0.9}


def test_logged_models_word_wins_since_a_run_may_have_made_several() -> None:
    model = LoggedModel(
        model_id="m-1",
        params={"depth": "1", "only": "model"},
        metrics={"auc": 0.1, "only": 0.2},
    )

    details = completed(
        model, params={"depth": "2", "run": "x"}, metrics={"auc": 0.3, "run": 0.4}
    )

    assert details.params == {"depth": "1", "only": "model", "run": "x"}
    assert details.metrics == {"auc": 0.1, "only": 0.2, "run": 0.4}


@pytest.mark.parametrize(
    ("of_run", "expected"),
    [({}, {}), ({"loss": 0.3}, {}), ({"loss": 0.0}, {"loss": 0.0})],
)
def test_zero_that_may_have_been_no_number_needs_the_runs_word(
    of_run: dict[str, float], expected: dict[str, float]
) -> None:
    model = LoggedModel(model_id="m-1", metrics={"loss": 0.0})

    details = completed(model, metrics=of_run)

    assert details.metrics == expected
    assert details.run is not None
    assert details.run.get("omitted", {}) == ({} if expected else {"metrics": 1})
    assert with_run(VersionDetails(), None, known(model)).metrics == {}


def test_metrics_that_are_not_finite_are_each_counted_and_named() -> None:
    metrics = {
        "nan": math.nan,
        "inf": math.inf,
        "-inf": -math.inf,
        "auc": 0.9,
        "a\0": math.nan,
    }

    details = completed(metrics={name: metrics[name] for name in reversed(metrics)})

    assert details.metrics == {"auc": 0.9}
    assert details.run is not None
    assert details.run["omitted"] == {"metrics": 4}
    assert details.run["omitted_metrics"] == {
        "-inf": "-Infinity",
        "inf": "Infinity",
        "nan": "NaN",
    }


def test_metrics_of_a_logged_model_are_named_as_the_run_has_them() -> None:
    """MLflow 3 stores NaN of a model as 0, and links a run's metrics to its models."""
    model = LoggedModel(
        model_id="m-1",
        metrics={"nan": 0.0, "inf": math.inf, "alone": 0.0, "series": 0.5},
    )

    details = completed(
        model,
        metrics={"nan": math.nan, "inf": math.inf, "series": math.nan},
        metric_steps={"series": 9},
    )

    assert details.metrics == {}
    assert details.run is not None
    assert details.run["omitted"] == {"metrics": 4}
    assert details.run["omitted_metrics"] == {
        "alone": "0 or NaN",
        "inf": "Infinity",
        "nan": "NaN",
        "series": "NaN",
    }


def test_names_of_omitted_metrics_have_a_bound() -> None:
    metrics = {f"{number:0250}": math.nan for number in range(200)}

    found = snapshot_of(metrics=metrics)

    assert found["omitted"] == {"metrics": 200}
    assert len(found["omitted_metrics"]) == MAX_OMITTED_CHARACTERS // 253


def test_what_cannot_be_stored_is_left_out_and_counted() -> None:
    odd = {"nul": "a\0b", "\ud800": "x", "": "x", "k" * 251: "x", "fine": "x"}

    details = completed(
        params=odd,
        tags=odd,
        metrics={"a\0": 1.0, "fine": 2.0, "": 3.0},
        datasets=[dataset(""), dataset("fine", source="x" * 1001, digest="d\0")],
    )

    assert details.params == {"fine": "x"}
    assert details.metrics == {"fine": 2.0}
    assert details.datasets == [{"name": "fine"}]
    assert details.run is not None
    assert details.run["tags"] == {"fine": "x"}
    assert details.run["omitted"] == {
        "params": 4,
        "metrics": 2,
        "datasets": 1,
        "tags": 4,
    }


def test_snapshot_has_bounds() -> None:
    long = {f"{number:03}": "x" * 1000 for number in range(200)}

    details = completed(
        params=long,
        tags=long,
        metrics={f"{number:05}": 1.0 for number in range(MAX_METRICS + 5)},
        datasets=[dataset(f"{n:03}", source="x" * 400) for n in range(200)],
    )

    assert details.run is not None
    kept = MAX_PARAMS_CHARACTERS // 1003
    assert list(details.params) == list(long)[:kept]
    assert len(details.metrics) == MAX_METRICS
    assert len(details.run["tags"]) == MAX_TAGS_CHARACTERS // 1003
    assert len(details.datasets) == MAX_DATASETS_CHARACTERS // 403 <= MAX_DATASETS
    assert details.run["omitted"]["params"] == 200 - kept
    assert details.run["omitted"]["metrics"] == 5


def test_what_is_too_long_does_not_keep_out_what_follows() -> None:
    params = {"a": "x" * (MAX_PARAMS_CHARACTERS + 1), "b": "short"}

    assert completed(params=params).params == {"b": "short"}


def test_texts_are_in_the_form_in_which_all_are_stored() -> None:
    decomposed, composed = "u\u0308", "ü"

    details = completed(params={decomposed: decomposed}, name=decomposed)

    assert details.params == {composed: composed}
    assert details.run is not None
    assert details.run["run_name"] == composed


@pytest.mark.parametrize("state", ["FINISHED", "FAILED", "KILLED"])
def test_state_of_a_run_that_has_ended_is_kept(state: str) -> None:
    assert snapshot_of(status=state)["status"] == state


@pytest.mark.parametrize("state", ["RUNNING", "SCHEDULED", "", "PAUSED"])
def test_no_run_is_said_to_be_running_for_ever(state: str) -> None:
    assert "status" not in snapshot_of(status=state)


def test_credential_in_the_address_of_a_data_set_is_not_kept() -> None:
    source = "postgresql://reader:pw-1@db/claims"

    (kept,) = completed(datasets=[dataset("claims", source=source)]).datasets

    assert kept == {"name": "claims", "source": "postgresql://***@db/claims"}
