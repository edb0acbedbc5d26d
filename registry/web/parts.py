"""The parts a request needs, as ``app.py`` wired them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from threading import BoundedSemaphore
from typing import TYPE_CHECKING

from registry.artifacts.store import ArtifactStore
from registry.domain.policy import StagePolicy
from registry.errors import BusyError
from registry.services.sources import SourceReaders
from registry.services.subscriptions import WebhookParts
from registry.settings import Settings
from registry.tracking.client import TrackingServer
from registry.web.readiness import Readiness
from registry.web.signatures import Signatures
from registry.web.single_flight import RecentKeys, SingleFlight
from webhooks.queue.dispatcher import Dispatcher

if TYPE_CHECKING:  # it is loaded where one is set
    from registry.identity.jobs import JobIssuers
    from registry.identity.provider import Provider


class Room:
    """So many places for work that takes long, so that it never takes every thread.

    Who finds no place is told to come back, at once or after a moment: to wait for
    long would take a thread as well. Places are of one process, which has eight
    threads (``registry.serving.bridge``).
    """

    def __init__(self, what: str, places: int, *, wait_seconds: float = 0.0) -> None:
        self._what = what
        self._places = BoundedSemaphore(places)
        self._wait_seconds = wait_seconds

    @contextmanager
    def place(self) -> Iterator[None]:
        """One of the places, for the time of the block.

        Raises:
            BusyError: when all of them are taken.
        """
        if not self._places.acquire(timeout=self._wait_seconds):
            raise BusyError(f"too many {self._what} are under way; try again")
        try:
            yield
        finally:
            self._places.release()


@dataclass(frozen=True)
class Rooms:
    """What may take long: a receiver's 20 s, a statement's 30 s, a log's minutes."""

    tests: Room = field(default_factory=lambda: Room("test sends", 2))
    searches: Room = field(
        # Most take milliseconds: a place is soon free.
        default_factory=lambda: Room("searches", 4, wait_seconds=1.0)
    )
    #: They wait for the identity provider.
    sign_ins: Room = field(
        default_factory=lambda: Room("sign-ins", 2, wait_seconds=2.0)
    )
    audits: Room = field(default_factory=lambda: Room("readings of the audit log", 2))


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Everything that was built once, at start.

    Attributes:
        tracking: None where no tracking server is set.
        provider: who vouches for people; None where nobody is set.
        dispatcher: runs only where ``registry.worker`` started it; elsewhere it
            sends tests, and waking it does nothing.
        verifications: by version and digest, or by file, the differences found.
        whole_files: files that were hashed under the ETag they had in the store.
    """

    settings: Settings
    policy: StagePolicy
    store: ArtifactStore
    tracking: TrackingServer | None
    provider: "Provider | None"
    webhooks: WebhookParts
    dispatcher: Dispatcher
    readiness: Readiness
    verifications: SingleFlight[tuple[str, ...], list[str]] = field(
        default_factory=SingleFlight
    )
    whole_files: RecentKeys[tuple[str, ...]] = field(default_factory=RecentKeys)
    signatures: Signatures = field(default_factory=Signatures)
    rooms: Rooms = field(default_factory=Rooms)

    @cached_property
    def job_issuers(self) -> "JobIssuers":
        """Who signs for the CI jobs that are trusted."""
        from registry.identity.jobs import JobIssuers  # noqa: PLC0415  # as above

        return JobIssuers()

    @property
    def source_readers(self) -> SourceReaders:
        """Who is asked what lies behind a source."""
        return SourceReaders(
            store=self.store, policy=self.policy, tracking=self.tracking
        )
