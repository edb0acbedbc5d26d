"""Waiting for what another thread or process does, as long as it gets on.

No machine is too slow for a test: what ends the waiting is that nothing has changed
for so long that nobody can be at work any more, and never a time for the whole.
"""

import time
from collections.abc import Callable
from typing import TypeVar

#: One step of anything takes seconds on the busiest machine.
STALL_SECONDS = 120.0
POLL_SECONDS = 0.02

Seen = TypeVar("Seen")


def wait_for(
    look: Callable[[], Seen], is_enough: Callable[[Seen], object] = bool
) -> Seen:
    """Look until it is enough; give what was seen.

    Raises:
        TimeoutError: what is seen has not changed for ``STALL_SECONDS``.
    """
    last, since = look(), time.monotonic()
    while not is_enough(last):
        time.sleep(POLL_SECONDS)
        seen = look()
        if seen != last:
            last, since = seen, time.monotonic()
        elif time.monotonic() - since > STALL_SECONDS:
            raise TimeoutError(f"nothing has moved for {STALL_SECONDS:.0f} s: {seen!r}")
    return last
