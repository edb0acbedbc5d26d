"""What the registry returns, as frozen dataclasses.

Rules:

- ``from_json`` takes what it knows and ignores the rest, so that an older client
  works with a newer server; the whole answer stays readable in ``raw``.
- Times are aware UTC datetimes; sizes are bytes.
- Only members that name the thing are required; all others have a default.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, NotRequired, Self, TypedDict

from registry.errors import RegistryError

JsonObject = Mapping[str, Any]

#: Told how many bytes are done, of how many in all.
Progress = Callable[[int, int], None]

_READ = "read"


class VersionFacts(TypedDict):
    """What may be said about a version when it is registered."""

    run_id: NotRequired[str]
    run_link: NotRequired[str]
    logged_model_id: NotRequired[str]
    description: NotRequired[str]
    tags: NotRequired[Mapping[str, str]]
    params: NotRequired[Mapping[str, Any]]
    metrics: NotRequired[Mapping[str, float]]
    git_commit: NotRequired[str]
    datasets: NotRequired[list[dict[str, str]]]


def _instant(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value).astimezone(UTC)


def _texts(values: list[str] | None) -> tuple[str, ...]:
    return tuple(values or ())


def _read_by(read: Callable[[Any], Any]) -> dict[str, Any]:
    return {_READ: read}


def _each(read: Callable[[Any], Any]) -> Callable[[Any], list[Any]]:
    return lambda values: [read(value) for value in values]


def _unless_null(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else read(value)


@dataclass(frozen=True, kw_only=True)
class Record:
    """One JSON object of an answer."""

    raw: JsonObject = field(repr=False, compare=False)

    @classmethod
    def from_json(cls, members: JsonObject) -> Self:
        """Read one record, ignoring members this client does not know.

        Raises:
            RegistryError: when a required member is missing or malformed.
        """
        try:
            known = {
                member.name: member.metadata.get(_READ, lambda value: value)(
                    members[member.name]
                )
                for member in fields(cls)
                if member.name in members and member.name != "raw"
            }
            return cls(raw=members, **known)
        except (AttributeError, TypeError, ValueError) as error:
            raise RegistryError(
                f"The server's answer is not a {cls.__name__}: {error}"
            ) from error


@dataclass(frozen=True, kw_only=True)
class HoldRecord(Record):
    """What keeps versions out of a stage.

    Attributes:
        version: the version that was rolled back; None where it was set by hand.
        until: when it ends by itself.
    """

    stage: str
    version: int | None = None
    reason: str = ""
    by: str = ""
    at: datetime | None = field(default=None, metadata=_read_by(_instant))
    until: datetime | None = field(default=None, metadata=_read_by(_instant))


@dataclass(frozen=True, kw_only=True)
class RegisteredModel(Record):
    """A model, with who is in its stages, what holds them, and its aliases."""

    name: str
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, int] = field(default_factory=dict)
    stages: Mapping[str, list[int]] = field(default_factory=dict)
    latest_version: int | None = None
    holds: list[HoldRecord] = field(
        default_factory=list, metadata=_read_by(_each(HoldRecord.from_json))
    )
    created_at: datetime | None = field(default=None, metadata=_read_by(_instant))
    created_by: str | None = None
    updated_at: datetime | None = field(default=None, metadata=_read_by(_instant))


@dataclass(frozen=True, kw_only=True)
class ModelVersion(Record):
    """A model version.

    Attributes:
        etag: set when it was read by itself.
        replayed: set when registering it, by a key that had made it before.
    """

    model: str
    version: int
    stage: str
    status: str
    status_message: str | None = None
    source: str | None = None
    download_uri: str | None = None
    verified: bool = False
    artifact_digest: str | None = None
    artifact_size_bytes: int | None = None
    run_id: str | None = None
    run_link: str = ""
    run: JsonObject | None = None
    logged_model_id: str | None = None
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    git_commit: str | None = None
    datasets: list[JsonObject] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)
    created_at: datetime | None = field(default=None, metadata=_read_by(_instant))
    created_by: str | None = None
    updated_at: datetime | None = field(default=None, metadata=_read_by(_instant))
    etag: str | None = None
    replayed: bool = False


@dataclass(frozen=True, kw_only=True)
class Transition(Record):
    """A stage change that happened; ``verified`` says whether its artifact is known.

    ``replayed`` says that it happened earlier, by a request with the same
    idempotency key, and that nothing changed now; ``version`` is as it was then.
    """

    transition_id: str
    version: ModelVersion = field(metadata=_read_by(ModelVersion.from_json))
    superseded: int | None = None
    cause: str = ""
    verified: bool | None = None
    replayed: bool = False


@dataclass(frozen=True, kw_only=True)
class GateRecord(Record):
    """A gate as it stands: passed, pending or failed; ``message`` says why not."""

    kind: str
    state: str
    name: str = ""
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class ApprovalRecord(Record):
    """An approval; ``valid`` as long as all that it was given for is as it was."""

    approved_by: str
    comment: str = ""
    at: datetime | None = field(default=None, metadata=_read_by(_instant))
    valid: bool = False


@dataclass(frozen=True, kw_only=True)
class TransitionRequest(Record):
    """A stage change that others are to approve.

    Attributes:
        state: open, approved, rejected, cancelled, expired or void (what it was for is
            not there any more).
        approvals: where it was read by itself, and so are ``gates``.
        transition: the stage change, in the answer to the last approval.
        replayed: as of ``Transition``; the rest is as it was then.
    """

    id: str
    model: str
    version: int
    to_stage: str
    from_stage: str = ""
    state: str = "open"
    is_rollback: bool = False
    reason: str = ""
    approvals_needed: int = 1
    artifact_digest: str | None = None
    policy: str = ""
    requested_by: JsonObject = field(default_factory=dict)
    created_at: datetime | None = field(default=None, metadata=_read_by(_instant))
    expires_at: datetime | None = field(default=None, metadata=_read_by(_instant))
    closed_at: datetime | None = field(default=None, metadata=_read_by(_instant))
    closed_by: str | None = None
    comment: str = ""
    transition_id: str | None = None
    approvals: list[ApprovalRecord] = field(
        default_factory=list, metadata=_read_by(_each(ApprovalRecord.from_json))
    )
    gates: list[GateRecord] = field(
        default_factory=list, metadata=_read_by(_each(GateRecord.from_json))
    )
    transition: Transition | None = field(
        default=None, metadata=_read_by(_unless_null(Transition.from_json))
    )
    replayed: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it can still be approved."""
        return self.state == "open"


#: A stage change, or what it became where others are to approve it.
Moved = Transition | TransitionRequest


@dataclass(frozen=True, kw_only=True)
class PreviewRecord(Record):
    """What would become of a stage change.

    Attributes:
        allowed: whether it would be made at once.
        reasons: why it would be refused; none where others are to approve it.
        leaving: the versions that would leave the stage.
        request: the one that stands already.
    """

    model: str
    version: int
    from_stage: str
    to_stage: str
    allowed: bool
    cause: str | None = None
    reasons: list[str] = field(default_factory=list)
    gates: list[GateRecord] = field(
        default_factory=list, metadata=_read_by(_each(GateRecord.from_json))
    )
    leaving: list[int] = field(default_factory=list)
    approvals_needed: int = 0
    approvals_given: int = 0
    request: TransitionRequest | None = field(
        default=None, metadata=_read_by(_unless_null(TransitionRequest.from_json))
    )
    can_break_glass: bool = False


@dataclass(frozen=True, kw_only=True)
class CheckRecord(Record):
    """The last result of a check that CI ran on a version."""

    name: str
    status: str
    url: str | None = None
    description: str = ""
    reported_by: str = ""
    created_at: datetime | None = field(default=None, metadata=_read_by(_instant))
    updated_at: datetime | None = field(default=None, metadata=_read_by(_instant))


@dataclass(frozen=True, kw_only=True)
class StagePolicyRecord(Record):
    """Where versions may move.

    Attributes:
        transitions: the stages a version may be moved to, by where it is.
        exclusive: stages that hold one version, and where it goes when the next
            one enters.
        deletable: versions in these stages may be deleted.
    """

    stages: list[str]
    transitions: Mapping[str, list[str]]
    exclusive: Mapping[str, str] = field(default_factory=dict)
    deletable: list[str] = field(default_factory=list)
    digest: str = ""


@dataclass(frozen=True, kw_only=True)
class HistoryEntry(Record):
    """One stage change of a model's history, and what became of it."""

    transition_id: str
    version: int
    from_stage: str
    to_stage: str
    cause: str = ""
    reason: str | None = None
    verified: bool | None = None
    at: datetime | None = field(default=None, metadata=_read_by(_instant))
    actor: JsonObject = field(default_factory=dict)
    sequence: int | None = None
    request_id: str | None = None
    broke_glass: bool = False
    held: bool = False
    deliveries: JsonObject = field(default_factory=dict)
    deployments: list[JsonObject] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class AuditRecord(Record):
    """One audit entry; ``entry`` is the canonical JSON text that was hashed.

    Only admins are told ``source_ip`` and ``private``; others see entries of the former
    version ``is_redacted``.
    """

    chain: str
    n: int
    hash: str
    prev_hash: str
    entry: str
    id: str | int | None = None
    at: datetime | None = field(default=None, metadata=_read_by(_instant))
    action: str = ""
    actor: Any = None
    model: str | None = None
    version: int | None = None
    source_ip: str | None = None
    private: str | None = None
    is_redacted: bool = False


@dataclass(frozen=True, kw_only=True)
class Subscription(Record):
    """A webhook subscription. ``secret`` is known only just after creation."""

    id: str
    url: str
    state: str = "active"
    event_types: list[str] = field(default_factory=list)
    model_pattern: str | None = None
    to_stages: list[str] | None = None
    format: str = "standard"
    options: JsonObject = field(default_factory=dict)
    headers: JsonObject = field(default_factory=dict)
    credential_names: list[str] = field(default_factory=list)
    signatures: list[str] = field(default_factory=list)
    public_keys: list[str] = field(default_factory=list)
    ca_certificate: str | None = None
    client_certificate: str | None = None
    on_poison: str = "hold"
    rate_per_minute: int | None = None
    schedule_seconds: list[int] | None = None
    description: str = ""
    secret: str | None = field(default=None, repr=False)
    created_at: datetime | None = field(default=None, metadata=_read_by(_instant))


@dataclass(frozen=True, kw_only=True)
class DeliveryRecord(Record):
    """One event on its way to one subscription."""

    id: str
    state: str
    webhook_id: str | None = None
    event_id: str | None = None
    event_type: str = ""
    reason: str | None = None
    attempts: int = 0
    next_attempt_at: datetime | None = field(default=None, metadata=_read_by(_instant))
    created_at: datetime | None = field(default=None, metadata=_read_by(_instant))

    @property
    def is_acknowledged(self) -> bool:
        """Whether the receiver took it."""
        return self.state == "delivered"

    @property
    def has_failed(self) -> bool:
        """Whether it will not arrive without somebody's help."""
        return self.state in {"blocked", "dead", "superseded"}


@dataclass(frozen=True, kw_only=True)
class DeploymentRecord(Record):
    """The last word on a version in one environment.

    ``automatic_rollback`` is set in the answer to a report of a failure, where the
    policy asks for one: what was rolled back, or why nothing was.
    """

    id: str
    environment: str
    status: str
    version: int | None = None
    url: str | None = None
    description: str = ""
    transition_id: str | None = None
    delivery_id: str | None = None
    reported_by: str = ""
    automatic_rollback: JsonObject | None = None
    created_at: datetime | None = field(default=None, metadata=_read_by(_instant))
    updated_at: datetime | None = field(default=None, metadata=_read_by(_instant))

    @property
    def has_succeeded(self) -> bool:
        """Whether the version runs there."""
        return self.status == "succeeded"

    @property
    def has_failed(self) -> bool:
        """Whether the version does not run there, for all that is known."""
        return self.status == "failed"


@dataclass(frozen=True, kw_only=True)
class AttemptRecord(Record):
    """One try to deliver.

    ``address`` is the one that was connected to; ``timings`` are the seconds of
    each part that ended: ``name``, ``connect``, ``tls``, ``first_byte``.
    """

    number: int
    outcome: str = ""
    status: int | None = None
    error: str | None = None
    started_at: datetime | None = field(default=None, metadata=_read_by(_instant))
    finished_at: datetime | None = field(default=None, metadata=_read_by(_instant))
    duration_seconds: float | None = None
    address: str | None = None
    timings: JsonObject = field(default_factory=dict)
    request_headers: JsonObject = field(default_factory=dict)
    response_headers: JsonObject = field(default_factory=dict)
    response_body: str | None = None


@dataclass(frozen=True, kw_only=True)
class EventRecord(Record):
    """An event of the feed; ``cursor`` is where to go on behind it."""

    id: str
    type: str
    cursor: str
    timestamp: datetime = field(metadata=_read_by(_instant))
    data: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TokenRecord(Record):
    """An API token. ``token`` is known only just after creation."""

    id: str
    name: str
    role: str = ""
    models: str = "*"
    scopes: tuple[str, ...] = field(default=(), metadata=_read_by(_texts))
    token: str | None = field(default=None, repr=False)
    created_at: datetime | None = field(default=None, metadata=_read_by(_instant))
    expires_at: datetime | None = field(default=None, metadata=_read_by(_instant))
    last_used_at: datetime | None = field(default=None, metadata=_read_by(_instant))
    revoked_at: datetime | None = field(default=None, metadata=_read_by(_instant))


@dataclass(frozen=True, kw_only=True)
class RoleBindingRecord(Record):
    """A role that a person (``user``) or a group has, for models by a pattern."""

    id: str
    subject_kind: str = ""
    subject: str = ""
    role: str = ""
    models: str = "*"
    created_at: datetime | None = field(default=None, metadata=_read_by(_instant))
    created_by: str | None = None


@dataclass(frozen=True, kw_only=True)
class PublisherRecord(Record):
    """CI jobs that are trusted; ``claims`` say which."""

    id: str
    name: str = ""
    provider: str = ""
    issuer: str = ""
    claims: Mapping[str, str] = field(default_factory=dict)
    role: str = ""
    models: str = "*"
    created_at: datetime | None = field(default=None, metadata=_read_by(_instant))
    created_by: str | None = None


@dataclass(frozen=True, kw_only=True)
class ArtifactFile(Record):
    """One file of a version's artifact; no digest while it is unverified."""

    path: str
    size_bytes: int
    sha256: str | None = None
