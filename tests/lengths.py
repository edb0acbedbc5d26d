"""How long the tests marked ``long`` run: short by themselves, else as asked.

Each length is an environment variable ``STAGEGATE_TEST_<NAME>``.
"""

import dataclasses
import os
from collections.abc import Mapping
from typing import Self

import pytest

PREFIX = "STAGEGATE_TEST_"


@dataclasses.dataclass(frozen=True)
class Lengths:
    """The lengths of one run; ``make long`` asks for others."""

    crash_runs: int = 50
    stateful_steps: int = 500
    schemathesis_seconds: int = 30
    artifact_mib: int = 1024
    seed: int = 20261120

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read what is set, keep the default of what is not.

        Raises:
            ValueError: A length is not a whole number.
        """
        given = {
            field.name: int(environ[PREFIX + field.name.upper()])
            for field in dataclasses.fields(cls)
            if environ.get(PREFIX + field.name.upper())
        }
        return cls(**given)


def short_and_long() -> pytest.MarkDecorator:
    """Run a test twice: at its shortest by default, and in the long run as asked."""
    asked = pytest.param(Lengths.from_env(os.environ), marks=pytest.mark.long)
    return pytest.mark.parametrize("lengths", [Lengths(), asked], ids=["short", "long"])
