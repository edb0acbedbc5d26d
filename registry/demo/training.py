"""Two small models of the digits data set, as a data scientist would leave them."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DATASET = "digits"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A trained model on disk, and what is known of it."""

    directory: Path
    description: str
    params: dict[str, str]
    metrics: dict[str, float]


def train(directory: Path) -> tuple[Candidate, Candidate]:
    """Train a first model and a better one below ``directory``.

    Raises:
        ImportError: when scikit-learn is not installed.
    """
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415  # an extra
    from sklearn.svm import SVC  # noqa: PLC0415

    return (
        _trained(
            directory / "logistic-regression",
            "logistic regression on 64 pixels",
            lambda params: LogisticRegression(**params),
            {"C": 0.001, "max_iter": 500},
        ),
        _trained(
            directory / "support-vectors",
            "support vector machine, RBF kernel",
            lambda params: SVC(**params),
            {"C": 10.0, "gamma": 0.001},
        ),
    )


def git_commit() -> str | None:
    """The commit of the working directory's code, where it is a git checkout."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607  # the user's own git
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def _trained(
    directory: Path,
    description: str,
    make: Callable[[dict[str, float]], Any],
    params: dict[str, float],
) -> Candidate:
    import joblib  # noqa: PLC0415  # comes with scikit-learn
    from sklearn.datasets import load_digits  # noqa: PLC0415
    from sklearn.metrics import accuracy_score, f1_score  # noqa: PLC0415
    from sklearn.model_selection import train_test_split  # noqa: PLC0415

    pixels, digits = load_digits(return_X_y=True)
    for_fit, for_test, fit_digits, test_digits = train_test_split(
        pixels, digits, test_size=0.25, random_state=0
    )
    model = make(params).fit(for_fit, fit_digits)
    found = model.predict(for_test)
    metrics = {
        "accuracy": round(float(accuracy_score(test_digits, found)), 4),
        "f1_macro": round(float(f1_score(test_digits, found, average="macro")), 4),
    }
    directory.mkdir()
    joblib.dump(model, directory / "model.joblib")
    (directory / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    return Candidate(
        directory=directory,
        description=description,
        params={name: str(value) for name, value in params.items()},
        metrics=metrics,
    )
