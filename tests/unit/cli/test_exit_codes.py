"""The exit code of every error, and of what is no error."""

import pytest

from registry import errors
from registry.cli.exit_codes import ExitCode, exit_code_of


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.RegistryError(), 1),
        (errors.ArtifactStoreError(), 1),
        (errors.IntegrityViolationError(), 1),
        (OSError(), 1),
        (errors.InvalidInputError("x"), 2),
        (errors.ConfigurationError(["x"]), 2),
        (
            errors.TransitionRefusedError(
                "x", from_stage="None", to_stage="Production", allowed=()
            ),
            3,
        ),
        (errors.AliasRefusedError("x", ["y"]), 3),
        (errors.RequestClosedError("x"), 3),
        (errors.ConflictError(), 4),
        (errors.ArtifactChangedError("x"), 4),
        (errors.StaleExpectationError(), 4),
        (errors.CursorExpiredError("x", oldest_cursor="y"), 4),
        (errors.IdempotencyMismatchError("x"), 4),
        (errors.NotFoundError(), 5),
        (errors.ArtifactNotFoundError(), 5),
        (errors.NotSignedInError(), 6),
        (errors.PermissionDeniedError(), 6),
        (errors.WaitTimeoutError(), 7),
        (errors.ServerUnreachableError(), 8),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_error_has_its_exit_code(error: BaseException, code: int) -> None:
    assert exit_code_of(error) == code


def test_done_is_zero() -> None:
    assert int(ExitCode.DONE) == 0
