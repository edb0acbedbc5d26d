"""What the registry keeps, as values: rows that are read, decided on and written.

A field is a column of its table; only ``tags``, ``aliases`` and ``entered`` are read
from others. ``CHANGES`` are the columns that may change once a row is there; defaults
are what a new row has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Self


class VersionStatus(StrEnum):
    """How far the registration of a version has come (MLflow's terms)."""

    PENDING_REGISTRATION = "PENDING_REGISTRATION"
    READY = "READY"
    FAILED_REGISTRATION = "FAILED_REGISTRATION"


class CheckStatus(StrEnum):
    """What came of a check that CI ran on a version."""

    PENDING = "pending"
    PASSED = "passed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """A registered model.

    Attributes:
        mlflow_updated_at: MLflow's last_updated_timestamp: tags and aliases do not
            move it.
        chain_n: the number of its audit chain's last entry; 0 before the first.
        chain_hash: that entry's hash.
        holds: what keeps its versions out of stages (``domain.holds``).
    """

    CHANGES: ClassVar = (
        *("name", "is_prompt", "former_names", "description", "updated_at"),
        *("mlflow_updated_at", "deleted_at", "row_version", "last_number"),
        *("last_event", "last_history", "chain_n", "chain_hash", "holds"),
    )

    id: str
    name: str
    is_prompt: bool
    former_names: Sequence[str] = ()
    description: str
    created_at: datetime
    created_by: str
    updated_at: datetime
    mlflow_updated_at: datetime
    deleted_at: datetime | None = None
    row_version: int = 1
    last_number: int = 0
    last_event: int = 0
    last_history: int = 0
    chain_n: int = 0
    chain_hash: str
    holds: Sequence[Mapping[str, Any]] = ()

    @property
    def chain(self) -> str:
        """Return the name of its audit chain, which outlives renaming."""
        return f"model:{self.id}"

    def touched(self, now: datetime) -> "ModelRow":
        """Return the row as it is changed now, at its ``updated_at``.

        That never lies before its last change, even when the clock went back, so that
        "who held this stage at" stays true.
        """
        at = max(now, self.updated_at)
        return replace(self, updated_at=at, row_version=self.row_version + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRow:
    """A numbered version of a model and where its artifact lies.

    Attributes:
        model_name: the model's name again: indexes order by number and name.
        exclusive_stage: the stage, while the policy calls it exclusive.
        download_uri: where the bytes are, when that is not ``source``.
        run: what the tracking server said of the run at registration.
        seal_after: when the background may (again) try to complete the manifest.
        entered: the number of its last line in the model's history; 0 for none.
    """

    CHANGES: ClassVar = (
        *("stage", "exclusive_stage", "status", "status_message", "source"),
        *("artifact_state", "artifact_digest", "artifact_size_bytes", "description"),
        *("updated_at", "mlflow_updated_at", "deleted_at", "row_version", "seal_after"),
    )

    id: str
    model_id: str
    model_name: str
    number: int
    stage: str
    exclusive_stage: str | None = None
    status: str
    status_message: str = ""
    source: str
    artifact_state: str = "unverified"
    artifact_digest: str | None = None
    artifact_size_bytes: int | None = None
    download_uri: str | None = None
    run_id: str | None
    run_link: str
    run: Mapping[str, Any] | None
    logged_model_id: str | None
    git_commit: str | None
    description: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    datasets: Sequence[Mapping[str, str]]
    created_at: datetime
    created_by: str
    updated_at: datetime
    mlflow_updated_at: datetime
    deleted_at: datetime | None = None
    row_version: int = 1
    seal_after: datetime | None = None
    tags: Mapping[str, str]
    aliases: Sequence[str] = ()
    entered: int

    @property
    def artifact_uri(self) -> str:
        """Return where the bytes are."""
        return self.download_uri or self.source

    @property
    def is_verified(self) -> bool:
        """Whether it is pinned, and was as registered when it was last looked at."""
        return self.artifact_state == "verified"

    @property
    def etag(self) -> str:
        """Return the strong entity tag: it changes with every change."""
        return f"{self.id}.{self.row_version}"

    def touched(self, at: datetime) -> "VersionRow":
        """Return the row as it is changed at that instant."""
        return replace(self, updated_at=at, row_version=self.row_version + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageChangeRow:
    """One version entering one stage; never changed once written.

    Attributes:
        verified: whether the artifact was known to be as registered.
        event_id: the event that announced it; a registration has its own.
        request_id: the transition request whose approvals it had, if it needed them.
        broke_glass: whether it went past its gates.
        held: whether its stage is held since then.
    """

    model_id: str
    version_id: str
    number: int
    sequence: int
    transition_id: str
    from_stage: str | None
    to_stage: str
    cause: str
    reason: str
    actor_kind: str
    actor_name: str
    at: datetime
    verified: bool | None
    event_id: str | None = None
    request_id: str | None = None
    broke_glass: bool = False
    held: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTagRow:
    """A tag of a model."""

    model_id: str
    key: str
    value: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionTagRow:
    """A tag of a version."""

    version_id: str
    key: str
    value: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasRow:
    """A name that points at one version of a model."""

    CHANGES: ClassVar = ("version_id", "number")

    model_id: str
    alias: str
    version_id: str
    number: int

    @classmethod
    def of(cls, version: VersionRow, alias: str) -> Self:
        """Return an alias that points at a version."""
        return cls(
            model_id=version.model_id,
            alias=alias,
            version_id=version.id,
            number=version.number,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CommentRow:
    """What somebody wrote about a version.

    Attributes:
        author_token: the token that wrote it, whose bearer may edit it.
    """

    CHANGES: ClassVar = ("text", "updated_at")

    id: str
    version_id: str
    author: str
    author_token: str
    text: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRow:
    """The last result of a check that CI ran on a version."""

    CHANGES: ClassVar = ("status", "url", "description", "reported_by", "updated_at")

    version_id: str
    name: str
    status: str
    url: str | None
    description: str
    reported_by: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRow:
    """A transition request: a move that somebody asks others to approve.

    Attributes:
        is_rollback: whether it is a rollback that is asked for.
        archives_others: whether others leave a shared stage for it.
        state: as it was left; ``domain.requests.standing`` tells how it stands.
        needed: how many approvals it takes.
        requester: the principal of who asks, ``requester_human`` the person behind it,
            and ``requester_made_by`` the principals that made the credential.
        artifact_digest: what an approval is for, with the stages and ``policy_digest``.
        entered: the version's last line in the model's history.
        closed_by: who rejected, cancelled or last approved it.
        comment: what they said.
    """

    CHANGES: ClassVar = ("state", "closed_at", "closed_by", "comment", "transition_id")

    id: str
    model_id: str
    version_id: str
    number: int
    from_stage: str
    to_stage: str
    is_rollback: bool
    archives_others: bool
    reason: str
    state: str
    needed: int
    policy_digest: str
    artifact_digest: str | None
    entered: int
    requested_by: str
    requester_kind: str
    requester: str
    requester_human: str
    requester_made_by: str
    created_at: datetime
    expires_at: datetime
    closed_at: datetime | None = None
    closed_by: str | None = None
    comment: str = ""
    transition_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRow:
    """One approval of a transition request.

    Attributes:
        approver: the principal; ``human`` and ``made_by`` as of who asks.
        binding: the SHA-256 of all that was approved; of no worth once that differs.
    """

    CHANGES: ClassVar = ("name", "comment", "at", "binding")

    request_id: str
    approver: str
    human: str
    made_by: str
    name: str
    comment: str
    at: datetime
    binding: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentRow:
    """The last word on one version in one environment, because of one change."""

    CHANGES: ClassVar = (
        *("delivery_id", "status", "url", "description", "reported_by", "updated_at"),
    )

    id: str
    model_id: str
    version_id: str
    number: int
    transition_id: str | None
    delivery_id: str | None = None
    environment: str
    status: str
    url: str | None = None
    description: str
    reported_by: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRow:
    """The manifest of a version; each file that its canonical JSON names is a row."""

    version_id: str
    canonical: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredRow:
    """What an uploader says that an artifact holds; None once that is settled."""

    CHANGES: ClassVar = ("declared_manifest",)

    id: str
    declared_manifest: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleBindingRow:
    """A role that somebody has, for the models whose name matches a pattern.

    Attributes:
        subject_kind: ``user`` or ``group``.
        subject: a person's ``issuer#subject``, or the name of a group.
    """

    id: str
    subject_kind: str
    subject: str
    role: str
    models: str
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """A bearer token: its SHA-256 and what it may do, never the token.

    Attributes:
        models: a pattern of those that the role is for.
        scopes: what it is confined to, as ``action:pattern``; None where it is not.
        owner: the principal of the person behind it, empty where nobody is known.
        made_by: the principals that made it, as of an actor.
        kind: ``token``, or ``ci`` for one that a CI job was given.
        publisher_id: by which trusted publisher a CI job was.
        on_behalf_of: as an actor's; ``human`` in it is whoever started the job.
    """

    CHANGES: ClassVar = ("revoked_at",)

    id: str
    name: str
    role: str
    models: str = "*"
    scopes: Sequence[str] | None = None
    owner: str = ""
    made_by: str = ""
    kind: str = "token"
    publisher_id: str | None = None
    on_behalf_of: Mapping[str, str] | None = None
    digest: str
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublisherRow:
    """CI jobs that are given tokens, by what their platform signs of them.

    Attributes:
        provider: the platform.
        place: what its jobs are found by (``domain.publishers.place_of``).
        claims: what its jobs' tokens must say.
    """

    id: str
    provider: str
    name: str
    issuer: str
    place: str
    claims: Mapping[str, str]
    role: str
    models: str
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedJtiRow:
    """A platform's token that was exchanged: the SHA-256 of its id."""

    issuer: str
    jti: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """A browser that is signed in.

    Attributes:
        id: the SHA-256 of its cookie.
        sid: what the identity provider calls its own session there; may be empty.
        token_id: the token that it was made from; None where a person signed in.
    """

    CHANGES: ClassVar = ("ended_at",)

    id: str
    principal: str
    name: str
    issuer: str = ""
    subject: str = ""
    sid: str = ""
    groups: Sequence[str] = ()
    roles: Sequence[str] = ()
    token_id: str | None = None
    created_at: datetime
    expires_at: datetime
    last_seen_at: datetime
    ended_at: datetime | None = None
