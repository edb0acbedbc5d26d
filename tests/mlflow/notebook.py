"""A process of MLflow's environment that does what a test tells it (``inside``)."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests.mlflow.environment import MLflowEnvironment
from tests.services.processes import stop

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Refusal:
    """An error that MLflow raised."""

    error_code: str
    message: str


@dataclass(frozen=True)
class Notebook:
    """The process, by its two ends."""

    questions: IO[bytes]
    answers: IO[bytes]
    log_file: Path

    def ask(self, do: str, **fields: object) -> Any:  # noqa: ANN401  # any JSON value
        """What came of it, or the refusal."""
        self.questions.write(json.dumps({"do": do, **fields}).encode() + b"\n")
        self.questions.flush()
        line = self.answers.readline()
        assert line, self.log_file.read_text(encoding="utf-8")[-4000:]
        answer = json.loads(line)
        if "result" in answer:
            return answer["result"]
        return Refusal(answer["error_code"], answer["message"])


@contextlib.contextmanager
def notebook(
    environment: MLflowEnvironment, directory: Path, **variables: str
) -> Iterator[Notebook]:
    """A process with ``directory`` as home and these variables of MLflow and AWS."""
    directory.mkdir(exist_ok=True)
    log_file = directory / "notebook.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [environment.python, "-m", "tests.mlflow.inside"],
            env=environment.variables(directory, **variables)
            | {"PYTHONPATH": str(CHECKOUT)},
            cwd=directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Notebook(process.stdin, process.stdout, log_file)
    finally:
        process.stdin.close()
        process.stdout.close()
        stop(process)
