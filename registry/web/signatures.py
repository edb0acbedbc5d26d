"""What models take and give, remembered by the digest of the file that says so.

A digest's file says the same for good, so it is read once. A store that is away is left
alone for a while: a page is shown without the signature then, and waits for nobody.
"""

import time
from collections.abc import Callable, Sequence
from threading import Lock

from registry.domain import signatures
from registry.domain.signatures import Column
from registry.errors import ArtifactStoreError, RegistryError

RETRY_SECONDS = 30.0
_MOST_KNOWN = 1000


class Signatures:
    """Those that were read last, in this process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: dict[str, Sequence[Column]] = {}
        self._away_until = 0.0

    def of(self, sha256: str, read: Callable[[], str | None]) -> Sequence[Column]:
        """Return what a file says; nothing where it cannot be read now.

        Args:
            sha256: of the file.
            read: returns its text; None where it has none.
        """
        known = self._known.get(sha256)
        if known is not None:
            return known
        if time.monotonic() < self._away_until:
            return ()
        try:
            text = read()
        except ArtifactStoreError:
            self._away_until = time.monotonic() + RETRY_SECONDS
            return ()
        except RegistryError:  # it is gone, or was changed, which is told elsewhere
            return ()
        known = signatures.columns(text or "")
        with self._lock:
            self._known[sha256] = known
            if len(self._known) > _MOST_KNOWN:
                del self._known[next(iter(self._known))]
        return known
