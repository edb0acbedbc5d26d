"""An environment of its own with the unmodified MLflow, kept in the tests' cache.

- MLflow is no dependency of Stagegate, and its requirements are not ours: it lives
  in a virtual environment that only child processes of the tests use.
- It is made once (about two minutes, 900 MB) and made anew when the requirements
  below change, or our Python: `make bench` compares programs on the same one. The
  stamp file is written last: without it, nothing is there.
- Beside it lies an empty database, on which a server begins without the migrations of
  MLflow's whole history.
- Several processes may ask for it at once: one makes it, the others wait.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.services.cache import cache_directory

VERSION = "3.17.2"
REQUIREMENTS = (
    f"mlflow=={VERSION}",
    "boto3>=1.35",  # MLflow's client reads s3:// with it
    "psycopg2-binary>=2.9",  # MLflow's server on PostgreSQL
    "scikit-learn>=1.5",
)
STAMP = "requirements.stamp"
WITHOUT_MLFLOW = f"MLflow {VERSION} is not in the cache and pip could not install it"


@dataclass(frozen=True)
class MLflowEnvironment:
    """A virtual environment that holds MLflow."""

    directory: Path

    @property
    def python(self) -> Path:
        return self.directory / "bin" / "python"

    @property
    def empty_database(self) -> Path:
        """A SQLite file with MLflow's tables and no rows."""
        return self.directory / "empty.db"

    def variables(self, home: Path, **own: str) -> dict[str, str]:
        """What a process in it sees: nothing of MLflow, AWS or Stagegate but ``own``.

        ``home`` is where it looks for credential files and writes its settings.
        ``MLFLOW_HTTP_REQUEST_MAX_RETRIES`` is 0, so that a failure shows at once
        and not after four minutes.
        """
        ours = ("MLFLOW_", "AWS_", "STAGEGATE_", "PYTHON", "COVERAGE_", "VIRTUAL_ENV")
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(ours)
        }
        return inherited | {
            "HOME": str(home),
            "PATH": f"{self.directory / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
            **own,
        }


def directory() -> Path:
    """Where it is kept; one for each version of Python."""
    python = f"py{sys.version_info.major}{sys.version_info.minor}"
    return cache_directory() / f"mlflow-{VERSION}-{python}"


def describe() -> str:
    """What the tests will use, in half a line."""
    return f"{VERSION} ({directory()})" if find() else f"{VERSION}, to be installed"


def find() -> MLflowEnvironment | None:
    """The environment, when it is there, complete and what is asked for now."""
    stamp = directory() / STAMP
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == _stamp_text():
        return MLflowEnvironment(directory())
    return None


def provide() -> MLflowEnvironment | None:
    """The environment, made now when that is still to be done; None without it."""
    found = find()
    if found is not None and found.empty_database.is_file():
        return found
    with _lock():
        # Another process may have made it while this one waited.
        found = find() or _make()
        if found is not None and not found.empty_database.is_file():
            _make_database(found)
    return found


def _make() -> MLflowEnvironment | None:
    target = directory()
    shutil.rmtree(target, ignore_errors=True)
    venv.create(target, with_pip=True)
    made = MLflowEnvironment(target)
    answer = subprocess.run(
        [made.python, "-m", "pip", "install", "--quiet", *REQUIREMENTS],
        env=made.variables(Path.home()),
        stdout=sys.stderr,
        check=False,
    )
    if answer.returncode != 0:
        return None
    (target / STAMP).write_text(_stamp_text(), encoding="utf-8")
    return made


def _make_database(environment: MLflowEnvironment) -> None:
    part = environment.empty_database.with_suffix(".part")
    part.unlink(missing_ok=True)
    subprocess.run(
        [environment.python, "-m", "mlflow", "db", "upgrade", f"sqlite:///{part}"],
        env=environment.variables(Path.home()),
        capture_output=True,
        check=True,
    )
    part.rename(environment.empty_database)


def _stamp_text() -> str:
    return "".join(f"{line}\n" for line in (sys.version, *REQUIREMENTS))


@contextmanager
def _lock() -> Iterator[None]:
    cache_directory().mkdir(parents=True, exist_ok=True)
    path = directory()
    with path.with_name(f"{path.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
