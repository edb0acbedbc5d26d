"""The client's calls about deployments of versions."""

from collections.abc import Iterator
from typing import NotRequired, TypedDict, Unpack

from registry.client.transport import Transport, json_object, version_path
from registry.client.types import DeploymentRecord


class DeploymentFacts(TypedDict):
    """What may be said of a deployment besides its status and its environment."""

    url: NotRequired[str]
    description: NotRequired[str]
    delivery_id: NotRequired[str]
    webhook_id: NotRequired[str]


class DeploymentCalls:
    """``client.deployments``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def report(
        self,
        model: str,
        version: int,
        status: str,
        *,
        environment: str,
        **facts: Unpack[DeploymentFacts],
    ) -> DeploymentRecord:
        """Say that a deployment is pending, in_progress, succeeded or failed.

        Signed in with a writer's token, or with the one that a delivery carried.

        Raises:
            ConflictError: when it has succeeded already.
        """
        body = {"status": status, "environment": environment, **facts}
        path = version_path(model, version, "deployments")
        response = self._transport.change(path, body)
        return DeploymentRecord.from_json(json_object(response))

    def list(
        self, model: str, version: int, *, transition_id: str | None = None
    ) -> Iterator[DeploymentRecord]:
        """Return the deployments of a version, or of one stage change, newest first."""
        path = version_path(model, version, "deployments")
        pages = self._transport.pages(path, {"transition_id": transition_id})
        return map(DeploymentRecord.from_json, pages)
