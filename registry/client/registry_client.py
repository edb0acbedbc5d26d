"""``RegistryClient``: every call of the REST API, typed.

Rules:

- Models, versions, stages and aliases are methods of the client; webhooks,
  deliveries, deployments, requests, checks, holds, audit, tokens, roles and trusted
  publishers are grouped under attributes.
- A stage change that others are to approve is none yet: its answer is the
  ``TransitionRequest`` that it became.
- Lists are iterators that fetch page after page as they are consumed.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self, Unpack

from registry.client.access import AuditCalls, PolicyCalls, RoleCalls, TokenCalls
from registry.client.connection import Token
from registry.client.deployments import DeploymentCalls
from registry.client.downloads import DownloadedFile, Downloader
from registry.client.events import EventCalls
from registry.client.gates import CheckCalls, HoldCalls, PreviewCalls, RequestCalls
from registry.client.publishers import PublisherCalls
from registry.client.registration import (
    Registration,
    as_it_is_now,
    is_address,
    wait_for,
)
from registry.client.rollout import OnLook, Rollout, RolloutWatch
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
    ArtifactFile,
    DeliveryRecord,
    HistoryEntry,
    JsonObject,
    ModelVersion,
    Moved,
    Progress,
    RegisteredModel,
    Transition,
    TransitionRequest,
    VersionFacts,
)
from registry.client.uploads import hidden_in, local_files
from registry.client.webhooks import DeliveryCalls, WebhookCalls
from registry.errors import (
    ArtifactNotFoundError,
    ConflictError,
    NotFoundError,
)

#: The incumbent a promotion expects: a version, "none", or None for any.
ExpectedIncumbent = int | Literal["none"] | None


class RegistryClient:
    """A connection to one registry."""

    def __init__(
        self, url: str, token: Token = None, *, timeout_seconds: float = 30
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            url: the server, with or without ``/api/v1``.
            token: an API token, a ``JobToken``, or None where none is needed.
            timeout_seconds: how long the server may stay silent.
        """
        self._transport = Transport(url, token, timeout_seconds=timeout_seconds)
        self.webhooks = WebhookCalls(self._transport)
        self.deliveries = DeliveryCalls(self._transport)
        self.deployments = DeploymentCalls(self._transport)
        self.requests = RequestCalls(self._transport)
        self.checks = CheckCalls(self._transport)
        self.holds = HoldCalls(self._transport)
        self.preview = PreviewCalls(self._transport)
        self.policy = PolicyCalls(self._transport)
        self.events = EventCalls(self._transport)
        self.audit = AuditCalls(self._transport)
        self.tokens = TokenCalls(self._transport)
        self.roles = RoleCalls(self._transport)
        self.publishers = PublisherCalls(self._transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def page_url(self, *segments: str | int) -> str:
        """Return the address of a page for people: ``"models", "fraud"``, say."""
        return f"{self._transport.base_url}{path_of(*segments)}"

    def whoami(self) -> JsonObject:
        """Return who is signed in: name, kind, roles and scopes."""
        return self._transport.get("/whoami")

    def models(self, *, prompts: bool = False) -> Iterator[RegisteredModel]:
        """Return every registered model, or every prompt."""
        query = {"prompts": "true"} if prompts else None
        return map(RegisteredModel.from_json, self._transport.pages("/models", query))

    def create_model(
        self,
        name: str,
        *,
        description: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> RegisteredModel:
        """Create a model without versions."""
        body = {"name": name, "description": description, "tags": dict(tags or {})}
        return RegisteredModel.from_json(
            json_object(self._transport.change("/models", body))
        )

    def ensure_model(self, name: str) -> RegisteredModel:
        """Return the model, created if it does not exist."""
        try:
            return self.get_model(name)
        except NotFoundError:
            pass
        try:
            return self.create_model(name)
        except ConflictError:
            # Somebody else created it between the two calls.
            return self.get_model(name)

    def get_model(self, name: str) -> RegisteredModel:
        """One model."""
        return RegisteredModel.from_json(self._transport.get(path_of("models", name)))

    def update_model(self, name: str, /, **changes: Any) -> RegisteredModel:  # noqa: ANN401  members of the contract
        """Change ``name``, ``description`` or ``tags`` (a tag of None goes)."""
        response = self._transport.request(
            "PATCH", path_of("models", name), body=changes
        )
        return RegisteredModel.from_json(json_object(response))

    def delete_model(self, name: str) -> None:
        """Delete a model with its versions."""
        self._transport.request("DELETE", path_of("models", name))

    def versions(
        self, model: str, *, stage: str | None = None
    ) -> Iterator[ModelVersion]:
        """Return the versions of a model, or those in one stage."""
        path = path_of("models", model, "versions")
        return map(
            ModelVersion.from_json, self._transport.pages(path, {"stage": stage})
        )

    def get_version(self, model: str, version: int) -> ModelVersion:
        """One version, with its entity tag for ``if_match``."""
        path = version_path(model, version)
        response = self._transport.request("GET", path)
        record = ModelVersion.from_json(json_object(response))
        return replace(record, etag=response.headers.get("ETag"))

    def update_version(
        self,
        model: str,
        version: int,
        *,
        if_match: str | None = None,
        **changes: Any,  # noqa: ANN401  members of the contract
    ) -> ModelVersion:
        """Change ``description``, ``tags`` and the like of a version."""
        response = self._transport.request(
            "PATCH",
            version_path(model, version),
            body=changes,
            headers=_if_match(if_match),
        )
        return ModelVersion.from_json(json_object(response))

    def delete_version(
        self, model: str, version: int, *, if_match: str | None = None
    ) -> None:
        """Delete a version; its number is never used again."""
        path = version_path(model, version)
        self._transport.request("DELETE", path, headers=_if_match(if_match))

    def register(
        self,
        model: str,
        source: str | Path,
        *,
        on_progress: Progress | None = None,
        on_hidden: Callable[[list[str]], None] | None = None,
        follow_links: bool = False,
        wait_seconds: float = 3600,
        idempotency_key: str | None = None,
        **facts: Unpack[VersionFacts],
    ) -> ModelVersion:
        """Make a version of a file, a directory, or an address; wait for READY.

        Args:
            model: an existing model; see ``ensure_model``.
            source: a path is uploaded, an address (``s3://…``) is linked.
            on_progress: told the bytes done and the bytes in all.
            on_hidden: told the hidden files and directories of a directory, if any,
                before they are uploaded; without it they are warned about.
            follow_links: upload what links lead to that lead out of the directory, or
                to directories; otherwise they are refused.
            wait_seconds: how long the server may take to check the artifact.
            idempotency_key: a second call with it answers the version of the first,
                unless that registration failed.
            facts: what else is known about the version.

        Raises:
            InvalidInputError: when there is nothing to upload, or something that
                cannot be kept.
            RegistryError: when the registration failed, with the reason.
            WaitTimeoutError: when the server is still checking.
        """
        registration = Registration(
            self._transport, model, wait_seconds, idempotency_key
        )
        if is_address(source):
            return registration.link(str(source), facts)
        # Looked at first: nothing to upload must not leave a version behind.
        files = local_files(Path(source), follow_links=follow_links)
        if hidden := hidden_in(files):
            (on_hidden or _warn_of_hidden)(hidden)
        return registration.upload(files, facts, on_progress)

    def begin_version(
        self, model: str, source: str | None = None, **facts: Unpack[VersionFacts]
    ) -> ModelVersion:
        """Take the next number and wait for nothing.

        The artifact lies at ``source``, where the server may still have to check it,
        or is still to come.
        """
        return Registration(self._transport, model, 0).begin(facts, source)

    def rehearse(self, name: str, /, **changes: Any) -> ModelVersion | None:  # noqa: ANN401  members of the contract
        """Return what changes would lead to; none is made. None without a version.

        Raises:
            RegistryError: what the first change would end in that would be refused.
        """
        body = {"name": name, **changes}
        response = self._transport.request("POST", "/rehearsals", body=body)
        version = json_object(response).get("version")
        return None if version is None else ModelVersion.from_json(version)

    def as_it_is_now(self, version: ModelVersion) -> ModelVersion | None:
        """Return the same version, read again; None when it is gone."""
        return as_it_is_now(self._transport, version)

    def artifact_files(self, model: str, version: int) -> Iterator[ArtifactFile]:
        """Return the files of a version's artifact."""
        path = version_path(model, version, "artifacts")
        return map(ArtifactFile.from_json, self._transport.pages(path))

    def download(
        self,
        model: str,
        version: int,
        destination: Path,
        *,
        path: str | None = None,
        on_progress: Progress | None = None,
    ) -> list[DownloadedFile]:
        """Fetch a version's artifact, or one file of it, and check the digests.

        Raises:
            ArtifactNotFoundError: when the artifact has no file ``path``.
            ArtifactChangedError: when what came is not what was registered.
        """
        files = [
            file
            for file in self.artifact_files(model, version)
            if path is None or file.path == path
        ]
        if path is not None and not files:
            raise ArtifactNotFoundError(
                f"{model} version {version} has no artifact file {path!r}"
            )
        path_of_version = version_path(model, version)
        downloader = Downloader(self._transport, path_of_version, on_progress)
        return downloader.download(files, destination)

    def verify(self, model: str, version: int) -> ModelVersion:
        """Have the server hash a version's artifact again.

        Raises:
            ArtifactChangedError: when it is not what was registered.
        """
        path = path_of("models", model, "versions", version, "verify")
        return ModelVersion.from_json(
            json_object(self._transport.request("POST", path))
        )

    def transition(
        self,
        model: str,
        version: int,
        to_stage: str,
        *,
        reason: str = "",
        expected_incumbent: ExpectedIncumbent = None,
        break_glass: bool = False,
        idempotency_key: str | None = None,
    ) -> Moved:
        """Move a version to a stage, or ask for it where others must approve.

        ``break_glass`` goes past gates and approvals, by its own permission and with a
        reason.

        Raises:
            TransitionRefusedError: when the policy says no.
            StaleExpectationError: when another version is the incumbent.
            ArtifactChangedError: when the artifact is not what was registered.
        """
        body: dict[str, object] = {"to_stage": to_stage}
        if reason:
            body["reason"] = reason
        if expected_incumbent is not None:
            is_none = expected_incumbent == "none"
            body["expected_incumbent"] = (
                None if is_none else version_number(expected_incumbent)
            )
        if break_glass:
            body["break_glass"] = True
        path = version_path(model, version, "transitions")
        return self._changed_stage(path, body, idempotency_key)

    #: The usual word for a transition that moves a version forward.
    promote = transition

    def archive(
        self,
        model: str,
        version: int,
        *,
        reason: str = "",
        idempotency_key: str | None = None,
    ) -> Moved:
        """Move a version to Archived."""
        return self.transition(
            model, version, "Archived", reason=reason, idempotency_key=idempotency_key
        )

    def rollback(
        self,
        model: str,
        *,
        to_version: int | None = None,
        reason: str = "",
        idempotency_key: str | None = None,
    ) -> Moved:
        """Put back the version that served before, or ``to_version``."""
        body: dict[str, object] = {}
        if to_version is not None:
            body["to_version"] = version_number(to_version)
        if reason:
            body["reason"] = reason
        path = path_of("models", model, "rollback")
        return self._changed_stage(path, body, idempotency_key)

    def stage_holder(
        self, model: str, stage: str, *, at: datetime | None = None
    ) -> ModelVersion:
        """Return the version that holds a stage, or held it at an instant.

        Raises:
            NotFoundError: when none does, or did.
        """
        path = path_of("models", model, "stages", stage)
        query = {"at": rfc3339(at) if at else None}
        return ModelVersion.from_json(self._transport.get(path, query))

    def history(
        self, model: str, *, stage: str | None = None
    ) -> Iterator[HistoryEntry]:
        """Return the stage changes of a model, newest first."""
        path = path_of("models", model, "history")
        return map(
            HistoryEntry.from_json, self._transport.pages(path, {"stage": stage})
        )

    def wait_for_deliveries(
        self, transition_id: str, *, timeout_seconds: float
    ) -> list[DeliveryRecord]:
        """Wait until every delivery of a stage change is acknowledged.

        Raises:
            RegistryError: when one will not arrive by itself, with the reason.
            WaitTimeoutError: when the time is up.
        """
        deliveries: list[DeliveryRecord] = []

        def acknowledged() -> list[DeliveryRecord] | None:
            deliveries[:] = self.deliveries.of_transition(transition_id)
            rollout = Rollout(deliveries)
            failure = rollout.failure()
            if failure:
                raise failure
            return deliveries if rollout.is_delivered else None

        return wait_for(acknowledged, timeout_seconds, lambda: _outstanding(deliveries))

    def wait_for_rollout(
        self,
        transition: Transition,
        *,
        timeout_seconds: float,
        must_deploy: bool = False,
        on_look: OnLook | None = None,
    ) -> Rollout:
        """Wait until a stage change is delivered and, where reported, deployed.

        Args:
            transition: the stage change.
            timeout_seconds: how long at most.
            must_deploy: wait for at least one deployment to be reported, too.
            on_look: told what was found, each time that somebody looked.

        Raises:
            RegistryError: when a delivery or a deployment has failed, with the reason.
            WaitTimeoutError: when the time is up.
        """
        watch = RolloutWatch(
            self.deliveries, self.deployments, transition, must_deploy, on_look
        )
        return watch.wait(timeout_seconds)

    def set_alias(self, model: str, alias: str, version: int) -> JsonObject:
        """Point an alias at a version.

        The answer has a ``request`` where the alias is bound to a stage, and others are
        to approve that move.

        Raises:
            AliasRefusedError: when the policy says no.
        """
        path = path_of("models", model, "aliases", alias)
        return json_object(
            self._transport.request(
                "PUT", path, body={"version": version_number(version)}
            )
        )

    def get_alias(self, model: str, alias: str) -> ModelVersion:
        """Return the version an alias points at."""
        path = path_of("models", model, "aliases", alias)
        return ModelVersion.from_json(self._transport.get(path))

    def delete_alias(self, model: str, alias: str) -> None:
        """Remove an alias."""
        self._transport.request("DELETE", path_of("models", model, "aliases", alias))

    def _changed_stage(
        self, path: str, body: JsonObject, idempotency_key: str | None
    ) -> Moved:
        response = self._transport.change(path, body, idempotency_key=idempotency_key)
        document = json_object(response)
        record: Moved = (
            TransitionRequest.from_json(document["request"])
            if "request" in document
            else Transition.from_json(document)
        )
        # Without a key of the caller's, only this call itself can have been repeated.
        is_known = idempotency_key is not None
        return replace(record, replayed=is_known and was_replayed(response))


def _warn_of_hidden(hidden: list[str]) -> None:
    warnings.warn(f"Hidden files are uploaded: {', '.join(hidden)}", stacklevel=3)


def _outstanding(deliveries: Iterable[DeliveryRecord]) -> str:
    return "deliveries: " + ", ".join(
        f"{delivery.id} is {delivery.state}"
        for delivery in deliveries
        if not delivery.is_acknowledged
    )


def _if_match(etag: str | None) -> dict[str, str]:
    return {} if etag is None else {"If-Match": etag}
