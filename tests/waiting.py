"""Waiting for what another thread or process does, with an end."""

import time
from collections.abc import Callable

PATIENCE_SECONDS = 60.0
POLL_SECONDS = 0.05


def wait_until(is_so: Callable[[], bool]) -> None:
    """Ask until it is so.

    Raises:
        TimeoutError: it was not so for a minute.
    """
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        if time.monotonic() >= give_up_at:
            raise TimeoutError(f"not so for {PATIENCE_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)
