"""What a test does when a service it needs is not on this machine.

- With ``CI=true`` the absence fails the run; elsewhere it skips, with the reason.
"""

import os
from typing import NoReturn

import pytest


def is_required() -> bool:
    return os.environ.get("CI", "").lower() == "true"


def report_absence(reason: str) -> NoReturn:
    if is_required():
        pytest.fail(f"CI=true requires this service: {reason}", pytrace=False)
    pytest.skip(reason)
