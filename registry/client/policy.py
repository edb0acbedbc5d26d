"""The client's call about the stage policy."""

from registry.client.transport import Transport
from registry.client.types import StagePolicyRecord


class PolicyCalls:
    """``client.policy``: call it for the rules that hold for a model's name."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def __call__(self, model: str | None = None) -> StagePolicyRecord:
        """The rules for a model, registered or not; or those nothing overrides."""
        document = self._transport.get("/policy", {"model": model})
        return StagePolicyRecord.from_json(document)
