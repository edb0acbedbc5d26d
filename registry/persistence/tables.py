"""Every table of the registry: the schema in one read.

Rules:

- A model row is the lock for all that belongs to the model: its versions,
  history, events and audit chain.
- Rows are marked deleted, not removed: history and audit outlive them, and a
  version number is never used again.
- Counters on the model row (versions, events, history) are moved under its lock,
  so what they number has no gap.
- ``exclusive_stage`` repeats the stage while the policy calls it exclusive; its
  unique index is what makes "one incumbent" the database's own rule.

"model" always means a machine learning model, so this module is ``tables``.
"""

from datetime import datetime
from typing import Annotated, Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    mapped_column,
)

from registry.domain.audit_chain import GENESIS_HASH
from registry.domain.policy import NONE
from webhooks.tables import UTCDateTime, partial_index

OfModel = Annotated[str, mapped_column(ForeignKey("registered_models.id"))]
OfVersion = Annotated[str, mapped_column(ForeignKey("model_versions.id"))]
_BIG = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers only INTEGER
_IS_ROLE = (
    "role IN ('viewer', 'auditor', 'admin', 'reader', 'writer', 'promoter', 'approver',"
    " 'break-glass')"
)


class Base(DeclarativeBase):
    """The base of the registry's own tables."""

    type_annotation_map: ClassVar = {str: Text, datetime: UTCDateTime}


class RegisteredModel(Base):
    """A registered model; the row that is locked before anything changes."""

    __tablename__ = "registered_models"
    __table_args__ = (
        partial_index(
            "registered_models_name_key",
            "name",
            where="deleted_at IS NULL",
            unique=True,
        ),
        #: Those with a hold, by their names.
        partial_index(
            "registered_models_held",
            "name",
            where="deleted_at IS NULL AND CAST(holds AS TEXT) <> '[]'",
        ),
        partial_index(
            "registered_models_by_kind",
            "is_prompt",
            "name",
            where="deleted_at IS NULL",
        ),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str]
    #: As its tag says it (``domain.prompts``), where a lock shows it too.
    is_prompt: Mapped[bool] = mapped_column(default=False, server_default=false())
    #: The newest last; webhooks' filters find the model by them, too.
    former_names: Mapped[list[str]] = mapped_column(
        JSON, default=list, server_default="[]"
    )
    description: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    updated_at: Mapped[datetime]
    #: MLflow's last_updated_timestamp: tags and aliases do not move it.
    mlflow_updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
    row_version: Mapped[int] = mapped_column(default=1)
    last_number: Mapped[int] = mapped_column(default=0)
    last_event: Mapped[int] = mapped_column(default=0)
    last_history: Mapped[int] = mapped_column(default=0)
    #: The head of its audit chain: the last entry's number, and its hash.
    chain_n: Mapped[int] = mapped_column(default=0, server_default="0")
    chain_hash: Mapped[str] = mapped_column(
        String(64), default=GENESIS_HASH, server_default=GENESIS_HASH
    )
    #: What keeps its versions out of stages, where a lock shows it too.
    holds: Mapped[list[dict[str, Any]]] = mapped_column(
        JSON, default=list, server_default="[]"
    )


class ModelTag(Base):
    """A tag of a model."""

    __tablename__ = "model_tags"

    model_id: Mapped[OfModel] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


class ModelVersion(Base):
    """A numbered version of a model and where its artifact lies."""

    __tablename__ = "model_versions"
    __table_args__ = (
        UniqueConstraint("model_id", "number"),
        partial_index(
            "model_versions_one_incumbent",
            "model_id",
            "exclusive_stage",
            where="exclusive_stage IS NOT NULL",
            unique=True,
        ),
        Index("model_versions_by_stage", "model_id", "stage", "number"),
        partial_index(
            "model_versions_to_seal",
            "seal_after",
            where="seal_after IS NOT NULL",
        ),
        CheckConstraint(
            "status IN ('PENDING_REGISTRATION', 'READY', 'FAILED_REGISTRATION')",
            name="model_versions_status",
        ),
        CheckConstraint(
            "exclusive_stage IS NULL OR exclusive_stage = stage",
            name="model_versions_exclusive_stage",
        ),
        CheckConstraint(
            "artifact_state IN ('unverified', 'verified', 'changed')",
            name="model_versions_artifact_state",
        ),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    model_id: Mapped[OfModel]
    #: The model's name again: indexes order by number and name.
    model_name: Mapped[str] = mapped_column(default="", server_default="")
    number: Mapped[int]
    stage: Mapped[str] = mapped_column(default=NONE)
    exclusive_stage: Mapped[str | None]
    status: Mapped[str]
    status_message: Mapped[str] = mapped_column(default="")
    source: Mapped[str]
    artifact_state: Mapped[str] = mapped_column(default="unverified")
    artifact_digest: Mapped[str | None]
    artifact_size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    #: Where the bytes are, when that is not ``source``.
    download_uri: Mapped[str | None]
    run_id: Mapped[str | None]
    run_link: Mapped[str] = mapped_column(default="")
    #: What the tracking server said of the run when the version was registered.
    run: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    logged_model_id: Mapped[str | None]
    git_commit: Mapped[str | None]
    description: Mapped[str] = mapped_column(default="")
    params: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)
    metrics: Mapped[dict[str, float]] = mapped_column(JSON, default=dict)
    datasets: Mapped[list[dict[str, str]]] = mapped_column(JSON, default=list)
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    updated_at: Mapped[datetime]
    #: MLflow's last_updated_timestamp: tags and aliases do not move it.
    mlflow_updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
    row_version: Mapped[int] = mapped_column(default=1)
    #: When the background may (again) try to complete the manifest.
    seal_after: Mapped[datetime | None]
    #: What the uploader says the artifact holds, until that is checked.
    declared_manifest: Mapped[str | None]


class VersionTag(Base):
    """A tag of a version."""

    __tablename__ = "version_tags"

    version_id: Mapped[OfVersion] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


class VersionComment(Base):
    """What somebody wrote about a version.

    Attributes:
        author_token: the token that wrote it, whose bearer may edit it.
    """

    __tablename__ = "version_comments"
    __table_args__ = (Index("version_comments_by_version", "version_id", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    version_id: Mapped[OfVersion]
    author: Mapped[str]
    author_token: Mapped[str]
    text: Mapped[str]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class ManifestFile(Base):
    """One file of a version's artifact; all of them are its manifest."""

    __tablename__ = "manifest_files"
    __table_args__ = ({"sqlite_with_rowid": False},)

    version_id: Mapped[OfVersion] = mapped_column(primary_key=True)
    #: Sorted by code points, as the canonical form is.
    path: Mapped[str] = mapped_column(
        Text().with_variant(Text(collation="C"), "postgresql"), primary_key=True
    )
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))


class Alias(Base):
    """A name that points at one version of a model."""

    __tablename__ = "aliases"
    __table_args__ = (Index("aliases_by_version", "version_id"),)

    model_id: Mapped[OfModel] = mapped_column(primary_key=True)
    alias: Mapped[str] = mapped_column(primary_key=True)
    version_id: Mapped[OfVersion]
    number: Mapped[int]


class StageChange(Base):
    """One version entering one stage; never changed once written.

    A promotion over an incumbent writes two, with one ``transition_id``.
    Registration writes the first, from no stage into None.
    """

    __tablename__ = "stage_changes"
    __table_args__ = (
        UniqueConstraint("model_id", "sequence"),
        Index("stage_changes_by_version", "version_id", "sequence"),
        Index("stage_changes_by_stage", "model_id", "to_stage", "sequence"),
        Index("stage_changes_by_transition", "transition_id"),
        Index("stage_changes_by_time", "at"),
    )

    id: Mapped[int] = mapped_column(_BIG, primary_key=True, autoincrement=True)
    model_id: Mapped[OfModel]
    version_id: Mapped[OfVersion]
    number: Mapped[int]
    sequence: Mapped[int]
    transition_id: Mapped[str]
    from_stage: Mapped[str | None]
    to_stage: Mapped[str]
    cause: Mapped[str]
    reason: Mapped[str] = mapped_column(default="")
    actor_kind: Mapped[str]
    actor_name: Mapped[str]
    at: Mapped[datetime]
    #: Whether the artifact was known to be as registered; unknown of old changes.
    verified: Mapped[bool | None]
    #: The event that announced it; registrations have their own event type.
    event_id: Mapped[str | None]
    #: The transition request that was approved for it.
    request_id: Mapped[str | None]
    broke_glass: Mapped[bool] = mapped_column(default=False, server_default=false())
    #: Whether its stage is held since then.
    held: Mapped[bool] = mapped_column(default=False, server_default=false())


class VersionCheck(Base):
    """The last result of a check that CI ran on a version."""

    __tablename__ = "version_checks"
    __table_args__ = (
        CheckConstraint(
            "status IN ('pending', 'passed', 'failed')", name="version_checks_status"
        ),
    )

    version_id: Mapped[OfVersion] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[str]
    url: Mapped[str | None]
    description: Mapped[str]
    reported_by: Mapped[str]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class TransitionRequest(Base):
    """A move that somebody asks others to approve; one of a kind is open at a time."""

    __tablename__ = "transition_requests"
    __table_args__ = (
        partial_index(
            "transition_requests_open",
            "version_id",
            "to_stage",
            where="state = 'open'",
            unique=True,
        ),
        partial_index("transition_requests_left_open", "id", where="state = 'open'"),
        Index("transition_requests_by_model", "model_id", "id"),
        CheckConstraint(
            "state IN ('open', 'approved', 'rejected', 'cancelled', 'expired', 'void')",
            name="transition_requests_state",
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    model_id: Mapped[OfModel]
    version_id: Mapped[OfVersion]
    number: Mapped[int]
    from_stage: Mapped[str]
    to_stage: Mapped[str]
    is_rollback: Mapped[bool]
    archives_others: Mapped[bool]
    reason: Mapped[str]
    state: Mapped[str]
    needed: Mapped[int]
    policy_digest: Mapped[str]
    artifact_digest: Mapped[str | None]
    entered: Mapped[int]
    requested_by: Mapped[str]
    requester_kind: Mapped[str]
    requester: Mapped[str]
    requester_human: Mapped[str]
    requester_made_by: Mapped[str]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    closed_by: Mapped[str | None]
    comment: Mapped[str]
    transition_id: Mapped[str | None]


class TransitionApproval(Base):
    """Who approved a transition request, and of what."""

    __tablename__ = "transition_approvals"

    request_id: Mapped[str] = mapped_column(
        ForeignKey("transition_requests.id"), primary_key=True
    )
    approver: Mapped[str] = mapped_column(primary_key=True)
    human: Mapped[str]
    made_by: Mapped[str]
    name: Mapped[str]
    comment: Mapped[str]
    at: Mapped[datetime]
    binding: Mapped[str] = mapped_column(String(64))


class Deployment(Base):
    """What a consumer reported of one version in one environment.

    The row holds the last word; the audit log has every report.
    """

    __tablename__ = "deployments"
    __table_args__ = (
        Index("deployments_by_version", "version_id", "id"),
        Index("deployments_by_transition", "transition_id"),
        Index(
            "deployments_by_environment",
            *("model_id", "environment", "updated_at", "id"),
        ),
        #: Those that failed or are under way, by their last word.
        partial_index(
            "deployments_unfinished", "updated_at", where="status <> 'succeeded'"
        ),
        CheckConstraint(
            "status IN ('pending', 'in_progress', 'succeeded', 'failed')",
            name="deployments_status",
        ),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    model_id: Mapped[OfModel]
    version_id: Mapped[OfVersion]
    number: Mapped[int]
    transition_id: Mapped[str | None]
    delivery_id: Mapped[str | None]
    environment: Mapped[str]
    status: Mapped[str]
    url: Mapped[str | None]
    description: Mapped[str] = mapped_column(default="")
    reported_by: Mapped[str]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class AuditChain(Base):
    """The head of a chain that is no model's; locked while an entry is appended."""

    __tablename__ = "audit_chains"

    chain: Mapped[str] = mapped_column(primary_key=True)
    n: Mapped[int]
    hash: Mapped[str] = mapped_column(String(64))


class AuditEntry(Base):
    """One entry of the audit log. Triggers refuse to change or remove it.

    ``canonical`` is the truth; the other columns repeat it for queries and
    verification compares them. ``private`` is sealed by it, and for admins alone.
    """

    __tablename__ = "audit_entries"
    __table_args__ = (
        UniqueConstraint("chain", "n"),
        Index("audit_entries_by_model", "model", "id"),
        #: Finds what a chain has of other models than it should.
        Index("audit_entries_by_chain_and_model", "chain", "model"),
        Index("audit_entries_by_actor", "actor", "id"),
        Index("audit_entries_by_action", "action", "id"),
        Index("audit_entries_by_actor_and_action", "actor", "action", "id"),
        Index("audit_entries_by_time", "at"),
    )

    id: Mapped[int] = mapped_column(_BIG, primary_key=True, autoincrement=True)
    chain: Mapped[str]
    n: Mapped[int]
    at: Mapped[str]
    action: Mapped[str]
    actor: Mapped[str]
    model: Mapped[str | None]
    version: Mapped[int | None]
    prev_hash: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))
    canonical: Mapped[str]
    private: Mapped[str | None]


class RoleBinding(Base):
    """A role that a person or a group has, for models by a pattern."""

    __tablename__ = "role_bindings"
    __table_args__ = (
        UniqueConstraint("subject_kind", "subject", "role", "models"),
        CheckConstraint(
            "subject_kind IN ('user', 'group')", name="role_bindings_subject_kind"
        ),
        CheckConstraint(_IS_ROLE, name="role_bindings_role"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    subject_kind: Mapped[str]
    subject: Mapped[str]
    role: Mapped[str]
    models: Mapped[str]
    created_at: Mapped[datetime]
    created_by: Mapped[str]


class TrustedPublisher(Base):
    """CI jobs that are given tokens, by what their platform signs of them."""

    __tablename__ = "trusted_publishers"
    __table_args__ = (
        Index("trusted_publishers_by_place", "issuer", "place"),
        CheckConstraint(
            "provider IN ('github', 'gitlab', 'kubernetes')",
            name="trusted_publishers_provider",
        ),
        CheckConstraint(
            "role IN ('reader', 'writer', 'promoter')", name="trusted_publishers_role"
        ),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    provider: Mapped[str]
    name: Mapped[str] = mapped_column(unique=True)
    issuer: Mapped[str]
    place: Mapped[str]
    claims: Mapped[dict[str, str]] = mapped_column(JSON)
    role: Mapped[str]
    models: Mapped[str]
    created_at: Mapped[datetime]
    created_by: Mapped[str]


class UsedJti(Base):
    """A platform's token that was exchanged, so that it is not once more."""

    __tablename__ = "used_jtis"
    __table_args__ = (Index("used_jtis_by_end", "expires_at"),)

    issuer: Mapped[str] = mapped_column(primary_key=True)
    jti: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[datetime]


class Token(Base):
    """A bearer token: its SHA-256 and what it may do, never the token."""

    __tablename__ = "tokens"
    __table_args__ = (
        CheckConstraint(_IS_ROLE, name="tokens_role"),
        CheckConstraint("kind IN ('token', 'ci')", name="tokens_kind"),
        Index("tokens_of_publisher", "publisher_id", "expires_at"),
        Index("tokens_by_end", "kind", "expires_at"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str]
    role: Mapped[str]
    models: Mapped[str] = mapped_column(default="*", server_default="*")
    scopes: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    #: The principal of the person behind it; empty where nobody is known.
    owner: Mapped[str] = mapped_column(default="", server_default="")
    #: The principals that made it, and theirs: they and it do not approve what the
    #: other asks for.
    made_by: Mapped[str] = mapped_column(default="", server_default="")
    kind: Mapped[str] = mapped_column(default="token", server_default="token")
    #: Who may have such tokens, and for which run: of a CI job's alone.
    publisher_id: Mapped[str | None]
    on_behalf_of: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class IdempotencyKey(Base):
    """A request that was carried out, and its answer; kept for a day."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("idempotency_keys_by_age", "created_at"),)

    principal: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    status: Mapped[int] = mapped_column(default=0)
    body: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime]


class BrowserSession(Base):
    """A browser that is signed in: the SHA-256 of its cookie, never the cookie."""

    __tablename__ = "sessions"
    __table_args__ = (
        Index("sessions_by_end", "expires_at"),
        Index("sessions_of_subject", "issuer", "subject"),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    principal: Mapped[str]
    name: Mapped[str]
    issuer: Mapped[str]
    subject: Mapped[str]
    sid: Mapped[str]
    groups: Mapped[list[str]] = mapped_column(JSON)
    roles: Mapped[list[str]] = mapped_column(JSON)
    token_id: Mapped[str | None] = mapped_column(String(32))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
