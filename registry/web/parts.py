"""The parts a request needs, as ``app.py`` wired them."""

from dataclasses import dataclass

from registry.artifacts.store import ArtifactStore
from registry.domain.policy import StagePolicy
from registry.services.sources import SourceReaders
from registry.services.subscriptions import WebhookParts
from registry.settings import Settings
from registry.tracking.client import TrackingServer
from webhooks.dispatcher import Dispatcher


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Everything that was built once, at start.

    Attributes:
        tracking: None where no tracking server is set.
        dispatcher: runs only where ``registry.worker`` started it; elsewhere it
            sends tests, and waking it does nothing.
    """

    settings: Settings
    policy: StagePolicy
    store: ArtifactStore
    tracking: TrackingServer | None
    webhooks: WebhookParts
    dispatcher: Dispatcher

    @property
    def source_readers(self) -> SourceReaders:
        """Who is asked what lies behind a source."""
        return SourceReaders(
            store=self.store, policy=self.policy, tracking=self.tracking
        )
