"""The client's calls about what a stage change waits for: approvals, checks, holds."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from itertools import dropwhile, takewhile
from typing import Literal, NotRequired, TypedDict, Unpack

from registry.client.registration import wait_for
from registry.client.transport import (
    Transport,
    json_object,
    path_of,
    rfc3339,
    version_number,
    version_path,
    was_replayed,
)
from registry.client.types import (
    CheckRecord,
    HistoryEntry,
    HoldRecord,
    PreviewRecord,
    Transition,
    TransitionRequest,
)
from registry.errors import RequestClosedError

_REQUESTS = "transition-requests"


class CheckFacts(TypedDict):
    """What may be said of a check besides its name and its status."""

    url: NotRequired[str]
    description: NotRequired[str]


class RequestCalls:
    """``client.requests``: stage changes that others are to approve."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self, *, model: str | None = None, state: Literal["open", "all"] = "open"
    ) -> Iterator[TransitionRequest]:
        """Return the requests that nobody closed, or all of them, newest first."""
        query = {"model": model, "state": state}
        pages = self._transport.pages(path_of(_REQUESTS), query)
        return map(TransitionRequest.from_json, pages)

    def get(self, request_id: str) -> TransitionRequest:
        """One request, with its approvals and every gate as it stands."""
        document = self._transport.get(path_of(_REQUESTS, request_id))
        return TransitionRequest.from_json(document)

    def create(
        self,
        model: str,
        version: int,
        to_stage: str,
        *,
        reason: str = "",
        idempotency_key: str | None = None,
    ) -> TransitionRequest:
        """Ask for a stage change, whether or not the policy wants approvals for it.

        Raises:
            TransitionRefusedError: when no rule of the policy allows it.
        """
        number = version_number(version)
        body = {"model": model, "version": number, "to_stage": to_stage}
        response = self._transport.change(
            path_of(_REQUESTS),
            {**body, "reason": reason} if reason else body,
            idempotency_key=idempotency_key,
        )
        record = TransitionRequest.from_json(json_object(response))
        is_known = idempotency_key is not None
        return replace(record, replayed=is_known and was_replayed(response))

    def approve(self, request_id: str, *, comment: str = "") -> TransitionRequest:
        """Approve a request; its ``transition`` is set when that was the last approval.

        Raises:
            PermissionDeniedError: for one's own request, among others.
            ConflictError: when the request does not stand any more.
            TransitionRefusedError: when a gate does not pass.
            ArtifactChangedError: when the artifact is not what was registered.
        """
        return self._decide(request_id, "approve", comment)

    def reject(self, request_id: str, *, comment: str = "") -> TransitionRequest:
        """Reject a request, as who may approve it."""
        return self._decide(request_id, "reject", comment)

    def cancel(self, request_id: str, *, comment: str = "") -> TransitionRequest:
        """Cancel a request, as who asked for it."""
        return self._decide(request_id, "cancel", comment)

    def wait(self, request_id: str, *, timeout_seconds: float) -> Transition:
        """Wait until a request is approved, and return the stage change that was made.

        Raises:
            RequestClosedError: when it was rejected, or does not stand any more.
            WaitTimeoutError: when the time is up.
        """

        def approved() -> TransitionRequest | None:
            request = self.get(request_id)
            if request.is_open:
                return None
            if request.transition_id is None:
                raise RequestClosedError(_closed(request))
            return request

        what = f"transition request {request_id} to be approved"
        return self._made_by(wait_for(approved, timeout_seconds, lambda: what))

    def _decide(
        self, request_id: str, decision: str, comment: str
    ) -> TransitionRequest:
        path = path_of(_REQUESTS, request_id, decision)
        response = self._transport.change(path, {"comment": comment} if comment else {})
        return TransitionRequest.from_json(json_object(response))

    def _made_by(self, request: TransitionRequest) -> Transition:
        """Return the stage change as the history has it, and its version as it is."""
        path = path_of("models", request.model, "history")
        pages = self._transport.pages(path, {"stage": request.to_stage})
        changes = dropwhile(
            lambda line: line.transition_id != request.transition_id,
            map(HistoryEntry.from_json, pages),
        )
        lines = list(
            takewhile(lambda line: line.transition_id == request.transition_id, changes)
        )
        aside = [line.version for line in lines if line.cause == "superseded"]
        return Transition.from_json(
            {
                "transition_id": request.transition_id,
                "cause": lines[0].cause if lines else "",
                "superseded": aside[0] if aside else None,
                "verified": lines[0].verified if lines else None,
                "version": self._transport.get(
                    version_path(request.model, request.version)
                ),
            }
        )


def _closed(request: TransitionRequest) -> str:
    by = f" by {request.closed_by}" if request.closed_by else ""
    comment = f": {request.comment}" if request.comment else ""
    return f"transition request {request.id} is {request.state}{by}{comment}"


class CheckCalls:
    """``client.checks``: what CI found out about versions."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def report(
        self,
        model: str,
        version: int,
        name: str,
        status: str,
        **facts: Unpack[CheckFacts],
    ) -> CheckRecord:
        """Say that a check is pending, or has passed or failed; the last counts."""
        body = {"name": name, "status": status, **facts}
        path = version_path(model, version, "checks")
        return CheckRecord.from_json(json_object(self._transport.change(path, body)))

    def list(self, model: str, version: int) -> Iterator[CheckRecord]:
        """Return the last result of each check of a version, by name."""
        path = version_path(model, version, "checks")
        return map(CheckRecord.from_json, self._transport.pages(path, page_size=None))


class HoldCalls:
    """``client.holds``: what keeps a model's versions out of a stage."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, model: str) -> Iterator[HoldRecord]:
        """Return the holds of a model, those that are over too."""
        document = self._transport.get(path_of("models", model))
        return map(HoldRecord.from_json, document.get("holds", ()))

    def set(
        self, model: str, stage: str, *, reason: str, until: datetime | None = None
    ) -> HoldRecord:
        """Keep every version out of a stage, until an instant or until it is lifted."""
        body = {"reason": reason, "until": rfc3339(until) if until else None}
        path = path_of("models", model, "holds", stage)
        response = self._transport.request("PUT", path, body=body)
        return HoldRecord.from_json(json_object(response))

    def lift(self, model: str, stage: str, *, reason: str = "") -> None:
        """Let versions into a stage again.

        Raises:
            NotFoundError: when nothing holds it.
        """
        path = path_of("models", model, "holds", stage)
        self._transport.request("DELETE", path, query={"reason": reason or None})


class PreviewCalls:
    """``client.preview``: call it for what would become of a stage change."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def __call__(
        self, model: str, version: int, to_stage: str, *, rollback: bool = False
    ) -> PreviewRecord:
        """Every gate with its state, and how many are to approve; nothing moves."""
        path = version_path(model, version, "transitions", "preview")
        query = {"to_stage": to_stage, "rollback": "true" if rollback else None}
        return PreviewRecord.from_json(self._transport.get(path, query))
