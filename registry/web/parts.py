"""The parts a request needs, as ``app.py`` wired them."""

from dataclasses import dataclass, field

from registry.artifacts.store import ArtifactStore
from registry.domain.policy import StagePolicy
from registry.services.sources import SourceReaders
from registry.services.subscriptions import WebhookParts
from registry.settings import Settings
from registry.tracking.client import TrackingServer
from registry.web.readiness import Readiness
from registry.web.rooms import Rooms
from registry.web.single_flight import RecentKeys, SingleFlight
from webhooks.dispatcher import Dispatcher


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Everything that was built once, at start.

    Attributes:
        tracking: None where no tracking server is set.
        dispatcher: runs only where ``registry.worker`` started it; elsewhere it
            sends tests, and waking it does nothing.
        verifications: by version and digest, or by file, the differences found.
        whole_files: files that were hashed under the ETag they had in the store.
    """

    settings: Settings
    policy: StagePolicy
    store: ArtifactStore
    tracking: TrackingServer | None
    webhooks: WebhookParts
    dispatcher: Dispatcher
    readiness: Readiness
    verifications: SingleFlight[tuple[str, ...], list[str]] = field(
        default_factory=SingleFlight
    )
    whole_files: RecentKeys[tuple[str, ...]] = field(default_factory=RecentKeys)
    rooms: Rooms = field(default_factory=Rooms)

    @property
    def source_readers(self) -> SourceReaders:
        """Who is asked what lies behind a source."""
        return SourceReaders(
            store=self.store, policy=self.policy, tracking=self.tracking
        )
