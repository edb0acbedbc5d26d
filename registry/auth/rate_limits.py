"""How often one source may fail: a token bucket for each, in this process's memory.

Rules:

- Only failures are counted. Who shares an address with a broken job (a cluster's
  gateway, a proxy) signs in as before: our credentials are too long to be guessed, and
  what is bounded is what failing costs the database, the log and the issuers.
- Where the attempt itself is what costs (``check``), who has failed too often is
  refused before anything is looked at, whatever is brought.
- An IPv6 source is its /64 network, which is what one subscriber has.
- Of very many sources the one that failed the longest ago is forgotten first.
- Several processes have a bucket each: the limit is multiplied by their number.
"""

import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from registry.errors import TooManyAttemptsError

MAX_SOURCES = 10_000
_IPV6_PREFIX = 64


class FailureLimit:
    """A bucket of failures for each source.

    Args:
        burst: how many failures in a row are answered as such.
        per_minute: how many more are, in each minute after that.
        clock: seconds that only ever grow.
    """

    def __init__(
        self,
        *,
        burst: int,
        per_minute: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._burst = float(burst)
        self._per_second = per_minute / 60
        self._clock = clock
        self._lock = threading.Lock()
        #: By source, how many failures are left to it, and since when.
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(self, source: str) -> None:
        """Refuse a source that has failed too often.

        Raises:
            TooManyAttemptsError: with the seconds after which to try again.
        """
        self._take(_network(source), 0)

    def note_failure(self, source: str) -> None:
        """Count a failure.

        Raises:
            TooManyAttemptsError: when none was left to the source.
        """
        self._take(_network(source), 1)

    def _take(self, network: str, failures: int) -> None:
        with self._lock:
            now = self._clock()
            left, since = self._left.get(network, (self._burst, now))
            left = min(self._burst, left + (now - since) * self._per_second)
            if left < 1:
                raise TooManyAttemptsError(math.ceil((1 - left) / self._per_second))
            if failures:
                self._left[network] = (left - failures, now)
                self._left.move_to_end(network)
            if len(self._left) > MAX_SOURCES:
                self._left.popitem(last=False)

    def forget(self) -> None:
        """Forget every failure."""
        with self._lock:
            self._left.clear()


def _network(source: str) -> str:
    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        return source
    if address.version == 4:  # noqa: PLR2004  # of the Internet Protocol
        return str(address)
    return str(ipaddress.ip_network((int(address), _IPV6_PREFIX), strict=False))
