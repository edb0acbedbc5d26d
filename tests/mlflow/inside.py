"""What a person does with MLflow, as a process of MLflow's environment.

``python -m tests.mlflow.inside`` reads one JSON object a line, ``{"do": NAME, …}``,
and answers one a line: ``{"result": …}``, or ``{"error_code", "message"}`` where
MLflow raised. What MLflow prints goes to the error output.

Every model predicts one constant, so that a prediction tells which version answered.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow  # type: ignore[import-not-found]
import numpy as np
import urllib3
from mlflow.exceptions import MlflowException  # type: ignore[import-not-found]
from sklearn.linear_model import LinearRegression

QUESTION = [[0.0], [1.0]]


def log_model(model: str, constant: float, commit: str) -> dict[str, str]:
    """Train, log and register; the run has parameters, metrics and a commit."""
    estimator = LinearRegression().fit(np.array(QUESTION), [constant, constant])
    # As MLflow itself tags a run that was started in a repository.
    tags = {"mlflow.source.git.commit": commit}
    with mlflow.start_run(run_name=f"train-{model}", tags=tags) as run:
        mlflow.log_params({"constant": constant, "kind": "linear"})
        for step, value in enumerate((0.5, 0.25)):
            mlflow.log_metric("loss", value, step=step)
        mlflow.log_metrics({"nan": np.nan, "inf": np.inf, "minus-inf": -np.inf})
        logged = mlflow.sklearn.log_model(
            estimator,
            name="model",
            registered_model_name=model,
            # What is not named, MLflow finds out: by loading the model in a process.
            pip_requirements=["scikit-learn"],
        )
    return {
        "run_id": run.info.run_id,
        "model_id": logged.model_id,
        "version": str(logged.registered_model_version),
    }


def transition(model: str, version: str, stage: str) -> str:
    """Move a version by the call that MLflow's users have in their scripts."""
    moved = mlflow.MlflowClient().transition_model_version_stage(
        model, version, stage, archive_existing_versions=True
    )
    return str(moved.current_stage)


def predict(uri: str) -> float:
    """Load a model by its address and ask it."""
    answer = mlflow.pyfunc.load_model(uri).predict(np.array(QUESTION))
    return round(float(answer[0]), 6)


def register(uri: str, model: str) -> dict[str, str]:
    """Register what was logged before."""
    version = mlflow.register_model(uri, model)
    return {"version": str(version.version), "source": version.source}


def set_alias(model: str, alias: str, version: str) -> None:
    """Name a version."""
    mlflow.MlflowClient().set_registered_model_alias(model, alias, version)


def register_prompt(name: str, template: str) -> int:
    """Register the next version of a prompt."""
    made = mlflow.genai.register_prompt(name=name, template=template)
    return int(made.version)


def use_prompt(uri: str, model_id: str) -> dict[str, Any]:
    """Load a prompt in a run; link it to a logged model and to a trace as well."""
    client = mlflow.MlflowClient()
    with mlflow.start_run() as run, mlflow.start_span("ask") as span:
        prompt = mlflow.genai.load_prompt(uri)
    client.link_prompt_version_to_model(prompt.name, prompt.version, model_id)
    client.link_prompt_versions_to_trace([prompt], span.trace_id)
    mlflow.flush_trace_async_logging()
    linked = {
        "run": client.get_run(run.info.run_id).data.tags,
        "model": client.get_logged_model(model_id).tags,
        "trace": mlflow.get_trace(span.trace_id).info.tags,
    }
    return {
        "text": prompt.format(name="Ann"),
        **{of: json.loads(tags["mlflow.linkedPrompts"]) for of, tags in linked.items()},
    }


def download(uri: str) -> list[str]:
    """The names of the files that a model consists of."""
    directory = Path(mlflow.artifacts.download_artifacts(uri))
    return sorted(path.name for path in directory.iterdir())


def read_files(uri: str) -> dict[str, str]:
    """The files that an address leads to, by their paths."""
    directory = Path(mlflow.artifacts.download_artifacts(uri))
    return {
        path.relative_to(directory).as_posix(): path.read_text(encoding="utf-8")
        for path in directory.rglob("*")
        if path.is_file()
    }


def describe(uri: str) -> str:
    """The logged model that an address leads to."""
    return str(mlflow.models.get_model_info(uri).model_id)


def count_requests(call: dict[str, Any]) -> dict[str, Any]:
    """Do what ``call`` says; how often the network was asked, retries included."""
    send = urllib3.connectionpool.HTTPConnectionPool._make_request  # noqa: SLF001
    sent: list[str] = []

    def noting(
        pool: urllib3.connectionpool.HTTPConnectionPool,
        connection: Any,  # noqa: ANN401  # handed on as they are
        method: str,
        url: str,
        **options: Any,  # noqa: ANN401
    ) -> urllib3.BaseHTTPResponse:
        sent.append(f"{method} {url.partition('?')[0]}")
        return send(pool, connection, method, url, **options)

    urllib3.connectionpool.HTTPConnectionPool._make_request = noting  # type: ignore[assignment,method-assign]  # noqa: SLF001
    try:
        answer = do(call)
    finally:
        urllib3.connectionpool.HTTPConnectionPool._make_request = send  # type: ignore[method-assign]  # noqa: SLF001
    return {"answer": answer, "requests": sent}


def do(call: dict[str, Any]) -> dict[str, Any]:
    """Do one thing and tell what came of it."""
    name = str(call.pop("do"))
    known: dict[str, Callable[..., Any]] = {
        "log_model": log_model,
        "transition": transition,
        "predict": predict,
        "register": register,
        "set_alias": set_alias,
        "register_prompt": register_prompt,
        "use_prompt": use_prompt,
        "download": download,
        "read_files": read_files,
        "describe": describe,
        "count_requests": count_requests,
    }
    try:
        return {"result": known[name](**call)}
    except MlflowException as error:
        return {"error_code": error.error_code, "message": str(error)}


def main() -> None:
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        for line in sys.stdin:
            answers.write(f"{json.dumps(do(json.loads(line)))}\n")
            answers.flush()


if __name__ == "__main__":
    main()
