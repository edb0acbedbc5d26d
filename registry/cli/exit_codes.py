"""What a command's exit code says: the one table of them all.

Rules:

- A script can tell a refusal from a conflict, and both from an unreachable
  server, without reading the text.
- A class without a row has the code of its nearest base class.
"""

from collections.abc import Mapping
from enum import IntEnum

from registry.errors import (
    AliasRefusedError,
    ConfigurationError,
    ConflictError,
    IdempotencyMismatchError,
    InvalidInputError,
    NotFoundError,
    NotSignedInError,
    PermissionDeniedError,
    RegistryError,
    RequestClosedError,
    ServerUnreachableError,
    StaleExpectationError,
    TransitionRefusedError,
    WaitTimeoutError,
)


class ExitCode(IntEnum):
    """The exit codes of every command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    CONFLICT = 4
    NOT_FOUND = 5
    NOT_ALLOWED = 6
    TIMED_OUT = 7
    UNREACHABLE = 8
    INTERRUPTED = 130


EXIT_CODES: Mapping[type[BaseException], ExitCode] = {
    RegistryError: ExitCode.FAILED,
    ConfigurationError: ExitCode.USAGE,
    InvalidInputError: ExitCode.USAGE,
    TransitionRefusedError: ExitCode.REFUSED,
    AliasRefusedError: ExitCode.REFUSED,
    RequestClosedError: ExitCode.REFUSED,
    ConflictError: ExitCode.CONFLICT,
    StaleExpectationError: ExitCode.CONFLICT,
    IdempotencyMismatchError: ExitCode.CONFLICT,
    NotFoundError: ExitCode.NOT_FOUND,
    NotSignedInError: ExitCode.NOT_ALLOWED,
    PermissionDeniedError: ExitCode.NOT_ALLOWED,
    WaitTimeoutError: ExitCode.TIMED_OUT,
    ServerUnreachableError: ExitCode.UNREACHABLE,
    KeyboardInterrupt: ExitCode.INTERRUPTED,
}


def exit_code_of(error: BaseException) -> ExitCode:
    """Return the exit code a command ends with because of ``error``."""
    codes = (EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES)
    return next(codes, ExitCode.FAILED)
