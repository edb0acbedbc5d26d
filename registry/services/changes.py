"""What every change of a model does, beside the change itself.

One call writes the audit entry and the event, in the caller's transaction and
under the model's lock: a change that would forget one of them cannot be
written. Design, section 5.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from urllib.parse import quote

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.domain import prompts
from registry.domain.actors import Caller
from registry.domain.timestamps import rfc3339
from registry.persistence.tables import ModelVersion, RegisteredModel
from registry.services import audit
from registry.services.audit import Change
from registry.services.documents import Document
from registry.services.transaction import Transaction
from webhooks import outbox
from webhooks.events import Event

TAG_SET = "model_version.tag_set"
TAG_DELETED = "model_version.tag_deleted"
COMMENTED = "model_version.commented"
COMMENT_UPDATED = "model_version.comment_updated"
COMMENT_DELETED = "model_version.comment_deleted"
PROMPT_TAG_SET = "prompt.tag_set"
PROMPT_TAG_DELETED = "prompt.tag_deleted"
_OF_VERSIONS = {TAG_SET, TAG_DELETED, COMMENTED, COMMENT_UPDATED, COMMENT_DELETED}
#: Announced to those who name the type: neither ``*`` nor a prefix asks for them.
OPT_IN = frozenset(
    {*_OF_VERSIONS, *map(prompts.event_type, _OF_VERSIONS)}
    | {PROMPT_TAG_SET, PROMPT_TAG_DELETED}
)


def record_change(
    tx: Transaction,
    model: RegisteredModel,
    change: Change,
    *,
    data: Document,
    at: datetime,
    in_detail: Sequence[tuple[str, Document]] = (),
) -> None:
    """Audit and announce a change whose action is also its event type.

    ``in_detail`` are events that say the same piece by piece, by type and data. All
    are named as those of a model; a prompt's are renamed here.
    """
    if model.is_prompt:
        change = replace(change, action=prompts.event_type(change.action))
        in_detail = [(prompts.event_type(name), told) for name, told in in_detail]
    audit.record(tx, change, chain=audit.chain_of(model), at=at)
    announce(tx, model, [(change.action, data), *in_detail], at=at)
    tx.session.flush()


def announce(
    tx: Transaction,
    model: RegisteredModel,
    events: Sequence[tuple[str, Document]],
    *,
    at: datetime,
) -> list[str]:
    """Store events, given by type and data, with their deliveries; answers their ids.

    ``data["to_stage"]``, where there is one, is the event's target.
    """
    actor = {"kind": tx.caller.actor.kind, "name": tx.caller.actor.name}
    former_names = _former_names(tx.session, model)
    first = model.last_event + 1
    model.last_event += len(events)
    rows = outbox.enqueue_all(
        tx.session,
        [
            Event(
                type=event_type,
                ordering_key=model.id,
                subject=model.name,
                former_subjects=former_names,
                target=data.get("to_stage"),
                data={
                    "model": model.name,
                    **data,
                    "sequence": sequence,
                    "actor": actor,
                },
                occurred_at=at,
                sequence=sequence,
                hop=tx.caller.hop + 1,
                is_opt_in=event_type in OPT_IN,
            )
            for sequence, (event_type, data) in enumerate(events, start=first)
        ],
        now=tx.now,
    )
    return [row.id for row in rows]


def _former_names(session: Session, model: RegisteredModel) -> Sequence[str]:
    """Names that the model had and that no other has taken since."""
    if not model.former_names:
        return ()
    taken = session.scalars(
        select(RegisteredModel.name).where(
            RegisteredModel.name.in_(model.former_names),
            RegisteredModel.deleted_at.is_(None),
        )
    ).all()
    return [name for name in model.former_names if name not in taken]


def touch(
    model: RegisteredModel, version: ModelVersion | None, now: datetime
) -> datetime:
    """Mark rows as changed; answers the instant of the change.

    It never lies before the model's last change, even when the clock went back,
    so that "who held this stage at" stays true.
    """
    at = max(now, model.updated_at)
    model.updated_at = at
    model.row_version += 1
    if version is not None:
        version.updated_at = at
        version.row_version += 1
    return at


def move_mlflow_time(at: datetime, *rows: RegisteredModel | ModelVersion) -> None:
    """Move MLflow's ``last_updated_timestamp`` of what changed in its terms.

    For a model: described, renamed, a version registered, moved or deleted. For a
    version: described, moved, its model renamed. Never for tags and aliases.
    """
    for row in rows:
        row.mlflow_updated_at = at


def version_event(
    caller: Caller, model: RegisteredModel, version: ModelVersion
) -> Document:
    """What every event about a version says (design, section 8).

    A prompt has neither stages nor an artifact, so its events say its text instead.
    """
    tags = version.tags or {}
    standing = (
        prompts.content(tags)
        if model.is_prompt
        else {
            "stage": version.stage,
            "status": version.status,
            "source": version.source,
            "download_uri": version.artifact_uri,
            "artifact_digest": version.artifact_digest,
            "verified": version.is_verified,
            "run_id": version.run_id,
            "tags": tags,
        }
    )
    return {
        "version": version.number,
        **standing,
        "links": version_links(caller, model, version),
        "updated_at": rfc3339(version.updated_at),
    }


def version_links(
    caller: Caller, model: RegisteredModel, version: ModelVersion
) -> dict[str, str]:
    """Where a receiver reads more, and reports what became of it.

    Nothing, when it is not known where we are: receivers send their tokens there.
    """
    if not caller.base_url:
        return {}
    base = caller.base_url + version_path(model.name, version.number)
    return {"version": base, "deployments": f"{base}/deployments"}


def version_path(name: str, number: int) -> str:
    """The path of a version below the server's root."""
    return f"/api/v1/models/{quote(name, safe='')}/versions/{number}"
