"""The parts a request needs, as ``app.py`` wired them."""

from dataclasses import dataclass

from registry.artifacts.store import ArtifactStore
from registry.domain.policy import StagePolicy
from registry.services.subscriptions import WebhookParts
from registry.settings import Settings
from webhooks.dispatcher import Dispatcher


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Everything that was built once, at start.

    Attributes:
        dispatcher: runs only where ``registry.worker`` started it; elsewhere it
            sends tests, and waking it does nothing.
    """

    settings: Settings
    policy: StagePolicy
    store: ArtifactStore
    webhooks: WebhookParts
    dispatcher: Dispatcher
