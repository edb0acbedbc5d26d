"""Runs and logged models as they are read, sound and odd."""

import math
from typing import Any

import pytest

from registry.tracking.documents import (
    DatasetInput,
    LoggedModel,
    Run,
    read_logged_model,
    read_run,
)
from tests.tracking_server import (
    MODEL_ID,
    RUN_ID,
    logged_model_document,
    run_document,
)


def test_run_is_read_as_it_was_sent() -> None:
    document = run_document(
        params={"depth": "6"},
        metrics={"auc": 0.93},
        tags={"mlflow.user": "alice"},
        model_steps={MODEL_ID: 3},
        datasets=[
            {
                "tags": [{"key": "mlflow.data.context", "value": "training"}],
                "dataset": {
                    "name": "transactions",
                    "digest": "d1",
                    "source_type": "s3",
                    "source": '{"uri": "s3://data/transactions"}',
                },
            }
        ],
    )

    assert read_run(document) == Run(
        run_id=RUN_ID,
        name="clever-crab-7",
        experiment_id="1",
        user="alice",
        status="FINISHED",
        start_ms=1_700_000_000_000,
        end_ms=1_700_000_060_500,
        artifact_uri=f"mlflow-artifacts:/1/{RUN_ID}/artifacts",
        params={"depth": "6"},
        metrics={"auc": 0.93},
        tags={"mlflow.user": "alice"},
        datasets=(
            DatasetInput(
                name="transactions",
                digest="d1",
                source="s3://data/transactions",
                context="training",
            ),
        ),
        model_steps={MODEL_ID: 3},
    )


def test_logged_model_is_read_as_it_was_sent() -> None:
    document = logged_model_document(params={"depth": "6"}, metrics={"auc": 0.5})

    assert read_logged_model(document) == LoggedModel(
        model_id=MODEL_ID,
        name="model",
        artifact_uri=f"mlflow-artifacts:/1/models/{MODEL_ID}/artifacts",
        run_id=RUN_ID,
        created_ms=1_700_000_000_500,
        params={"depth": "6"},
        metrics={"auc": 0.5},
    )


@pytest.mark.parametrize(
    "document", [{}, {"run": None}, {"run": {"info": []}}, {"run": {"info": {}}}]
)
def test_document_without_a_run_is_none(document: dict[str, Any]) -> None:
    assert read_run(document) is None
    assert read_logged_model({"model": document.get("run")}) is None


def test_odd_members_are_left_out() -> None:
    run = {
        "info": {
            "run_uuid": "r",
            "run_name": 7,
            "start_time": "1700000000000",
            "end_time": "-5",
            "status": None,
        },
        "data": {
            "params": [{"key": "a"}, {"key": 1, "value": "x"}, "b", None],
            "tags": {"key": "no list"},
            "metrics": [
                {"key": "text", "value": "0.5"},
                {"key": "list", "value": []},
                {"key": "flag", "value": True},
                {"value": 1.0},
                {"key": "whole", "value": 3},
            ],
        },
        "inputs": {"dataset_inputs": [{"dataset": None}, 5]},
        "outputs": {
            "model_outputs": [
                *({}, {"model_id": ""}, {"model_id": "m-1"}),
                *({"model_id": "m-2", "step": []}, {"model_id": "m-3", "step": "7"}),
            ]
        },
    }

    assert read_run({"run": run}) == Run(
        run_id="r",
        start_ms=1_700_000_000_000,
        metrics={"whole": 3.0},
        datasets=(DatasetInput(name="", digest="", source="", context=""),),
        model_steps={"m-1": 0, "m-2": 0, "m-3": 7},
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("NaN", math.nan),
        (math.nan, math.nan),
        ("Infinity", math.inf),
        (math.inf, math.inf),
        (10**400, math.inf),
        (1.7976931348623157e308, math.inf),
        ("-Infinity", -math.inf),
        (-1.7976931348623157e308, -math.inf),
        (-(10**400), -math.inf),
    ],
)
def test_metric_that_is_not_finite_is_read_as_such(
    value: object, expected: float
) -> None:
    """As protobuf's JSON, Python's and MLflow's database write it."""
    document = run_document(metrics={"loss": value, "fine": 1})

    run = read_run(document)

    assert run is not None
    assert str(run.metrics["loss"]) == str(expected)
    assert run.metrics["fine"] == 1.0


@pytest.mark.parametrize("later", ["NaN", 1.7976931348623157e308])
def test_last_value_counts_even_if_it_is_not_finite(later: object) -> None:
    points = [{"key": "loss", "step": 1, "timestamp": 7, "value": 0.5}]
    points.append({"key": "loss", "step": 2, "timestamp": 8, "value": later})
    for metrics in (points, points[::-1]):
        run = read_run({"run": {"info": {"run_id": "r"}, "data": {"metrics": metrics}}})

        assert run is not None
        assert not math.isfinite(run.metrics["loss"])
        assert run.metric_steps == {"loss": 2}


def test_last_value_of_a_metric_counts() -> None:
    points = [(1, 10, 0.1), (2, 5, 0.2), (2, 7, 0.3), (0, 99, 0.4)]
    metrics = [
        {"key": "auc", "step": step, "timestamp": str(at), "value": value}
        for step, at, value in points
    ]

    run = read_run({"run": {"info": {"run_id": "r"}, "data": {"metrics": metrics}}})

    assert run is not None
    assert run.metrics == {"auc": 0.3}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('{"uri": "s3://a"}', "s3://a"),
        ('{"path": "table"}', "table"),
        ('{"other": 1}', '{"other": 1}'),
        ("[1]", "[1]"),
        ("plain", "plain"),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_source_of_a_dataset_is_its_address_where_it_has_one(
    source: str, expected: str
) -> None:
    dataset = {"dataset": {"source": source}}

    run = read_run(
        {"run": {"info": {"run_id": "r"}, "inputs": {"dataset_inputs": [dataset]}}}
    )

    assert run is not None
    assert run.datasets[0].source == expected
