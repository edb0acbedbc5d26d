"""Rows, what was seen of them, by whom and when: what commands are given here."""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from registry.domain.actors import Actor, ActorKind, Caller
from registry.domain.commands.change import Context, Effects, Outcome, Snapshot
from registry.domain.holds import Hold
from registry.domain.manifests import FileEntry, Manifest
from registry.domain.policy import StagePolicy
from registry.domain.policy_file import parse_policy
from registry.domain.roles import Grant, Role
from registry.domain.rows import (
    AliasRow,
    ApprovalRow,
    CheckRow,
    CommentRow,
    DeploymentRow,
    ModelRow,
    RequestRow,
    StageChangeRow,
    VersionRow,
)
from registry.settings import packaged_config

Answer = TypeVar("Answer")

NOW = datetime(2030, 1, 2, 12, tzinfo=UTC)
BEFORE = NOW - timedelta(days=1)
DIGEST = "sha256:" + "a" * 64
MANIFEST = Manifest((FileEntry("model.pkl", 3, "b" * 64),))

MODEL = ModelRow(
    id="m1",
    name="churn",
    is_prompt=False,
    former_names=(),
    description="",
    created_at=BEFORE,
    created_by="ann",
    updated_at=BEFORE,
    mlflow_updated_at=BEFORE,
    deleted_at=None,
    row_version=9,
    last_number=3,
    last_event=7,
    last_history=5,
    chain_n=4,
    chain_hash="c" * 64,
)
PROMPT = replace(MODEL, is_prompt=True)
VERSION = VersionRow(
    id="v",
    model_id=MODEL.id,
    model_name=MODEL.name,
    number=0,
    stage="None",
    exclusive_stage=None,
    status="READY",
    status_message="",
    source="s3://models/churn",
    artifact_state="verified",
    artifact_digest=DIGEST,
    artifact_size_bytes=3,
    download_uri=None,
    run_id=None,
    run_link="",
    run=None,
    logged_model_id=None,
    git_commit=None,
    description="",
    params={},
    metrics={},
    datasets=(),
    created_at=BEFORE,
    created_by="ann",
    updated_at=BEFORE,
    mlflow_updated_at=BEFORE,
    deleted_at=None,
    row_version=2,
    seal_after=None,
    tags={},
    aliases=(),
    entered=0,
)
ALIAS = AliasRow(model_id=MODEL.id, alias="best", version_id="v3", number=3)
COMMENT = CommentRow(
    id="c1",
    version_id="v3",
    author="pat",
    author_token="t-pat",
    text="well",
    created_at=BEFORE,
    updated_at=BEFORE,
)
ENTERED = StageChangeRow(
    model_id=MODEL.id,
    version_id="v3",
    number=3,
    sequence=5,
    transition_id="trn_5",
    from_stage="Staging",
    to_stage="Production",
    cause="promotion",
    reason="",
    actor_kind="token",
    actor_name="pat",
    at=BEFORE,
    verified=True,
    event_id="evt_5",
)
#: CI asks for version 3 in Production, which Ann started.
ASKED = RequestRow(
    id="req_1",
    model_id=MODEL.id,
    version_id="v3",
    number=3,
    from_stage="Staging",
    to_stage="Production",
    is_rollback=False,
    archives_others=False,
    reason="better",
    state="open",
    needed=1,
    policy_digest="",
    artifact_digest=DIGEST,
    entered=3,
    requested_by="ci",
    requester_kind="ci",
    requester="github#1",
    requester_human="idp#ann",
    requester_made_by="idp#root",
    created_at=BEFORE,
    expires_at=NOW + timedelta(days=1),
)
APPROVAL = ApprovalRow(
    request_id="req_1",
    approver="idp#bob",
    human="idp#bob",
    made_by="",
    name="bob",
    comment="",
    at=BEFORE,
    binding="",
)
CHECK = CheckRow(
    version_id="v3",
    name="tests",
    status="passed",
    url=None,
    description="",
    reported_by="ci",
    created_at=BEFORE,
    updated_at=BEFORE,
)
#: Since Ann rolled version 3 back.
HOLD = Hold(stage="Production", version=3, reason="slow", by="ann", at=BEFORE)
DEPLOYED = DeploymentRow(
    id="d1",
    model_id=MODEL.id,
    version_id="v3",
    number=3,
    transition_id="trn_5",
    delivery_id="dlv_5",
    environment="eu",
    status="succeeded",
    url="https://ci.example/1",
    description="done",
    reported_by="pat",
    created_at=BEFORE,
    updated_at=BEFORE,
)


def policy(more: str = "", *, name: str = "policy.toml") -> StagePolicy:
    """A packaged policy, with tables of its own behind it."""
    text = packaged_config(name).read_text() + more
    return parse_policy(text.encode(), source=name)


POLICY = policy()
OPEN = policy(name="policy-open.toml")
CHAMPION = policy('[[aliases]]\nname = "champion"\naction = "promote"\n')


def version(number: int = 3, stage: str = "None", **columns: Any) -> VersionRow:  # noqa: ANN401
    """A version; one in Production holds it, a higher number came later."""
    held = stage if stage == "Production" else None
    row = replace(VERSION, id=f"v{number}", number=number, stage=stage, entered=number)
    return replace(row, exclusive_stage=held, **columns)


def seen(**found: Any) -> Snapshot:  # noqa: ANN401
    """What was found of the model ``churn``, with its version 3 where none is named."""
    return Snapshot(**{"model": MODEL, "version": version(), **found})


def context(
    role: Role = Role.PROMOTER,
    *,
    rules: StagePolicy = POLICY,
    now: datetime = NOW,
    by: str = "t-pat",
    **who: Any,  # noqa: ANN401  # members of Actor
) -> Context:
    """A change that Pat asks for, by a token where ``who`` does not say otherwise."""
    given = {"kind": ActorKind.TOKEN, "name": "pat", "grants": (Grant(role),), **who}
    actor = Actor(principal=by, **given)
    ids = itertools.count(1)
    return Context(
        caller=Caller(actor=actor, base_url="https://models.example"),
        policy=rules,
        now=now,
        new_event_id=lambda: f"evt_new_{next(ids)}",
    )


def written(outcome: Outcome[Answer]) -> Effects:
    """What is to be written, where something is."""
    assert outcome.effects is not None
    return outcome.effects


def events(outcome: Outcome[Answer]) -> list[tuple[str, Mapping[str, Any]]]:
    """What is announced, by type and data."""
    return [(event.type, event.data) for event in written(outcome).events]
