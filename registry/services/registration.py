"""Registering a version: the next number, and where its artifact lies.

Rules:

- The number is taken under the model's lock from a counter on its row, so
  numbers run 1, 2, 3 and are never used again.
- A version is PENDING_REGISTRATION until its manifest is complete
  (``services.sealing``); one whose source we cannot read is READY at once and
  unverified.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from registry.domain import names, prompts
from registry.domain.policy import NONE, Cause, VersionStatus
from registry.errors import ConflictError
from registry.persistence import queries
from registry.persistence.tables import ModelVersion, RegisteredModel, StageChange
from registry.services.artifacts import LinkedSource, require_copyable
from registry.services.changes import move_mlflow_time, touch
from registry.services.documents import Document
from registry.services.sealing import store_manifest, upload_source
from registry.services.tags import Tags, write_version_tags
from registry.services.transaction import Transaction
from registry.services.versions import finish_version

REGISTERED = "model_version.registered"


@dataclass(frozen=True, kw_only=True)
class VersionDetails:
    """What is said of a version when it is registered.

    Attributes:
        run: what is known of the run beside params, metrics and data sets, as
            ``services.run_snapshots`` makes it.
    """

    run_id: str | None = None
    run_link: str = ""
    run: Mapping[str, Any] | None = None
    logged_model_id: str | None = None
    git_commit: str | None = None
    description: str = ""
    tags: Tags = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    datasets: Sequence[Mapping[str, str]] = ()


def create_version(
    tx: Transaction,
    model_name: str,
    details: VersionDetails,
    *,
    link: LinkedSource | None,
    artifact_root: str,
) -> Document:
    """Register the next version of a model.

    ``link`` says where the artifact lies, None that it will be uploaded, below
    ``artifact_root``.

    Raises:
        NotFoundError: when there is no such model.
        ConflictError: when the version that is copied may no longer be.
        InvalidInputError: for a text or tag that breaks the rules, or a version that
            is a prompt where the model is none, or the other way round.
    """
    model = queries.lock_model(tx.session, model_name)
    prompts.check_new_version(model.name, of_prompt=model.is_prompt, tags=details.tags)
    if link and link.copied_id:
        _check_copied(tx, link.source, link.copied_id)
    at = touch(model, None, tx.now)
    move_mlflow_time(at, model)
    model.last_number += 1
    model.last_history += 1
    version = _new_version(tx, model, details, at)
    _place_artifact(version, link, artifact_root, at)
    tx.session.add(version)
    tx.session.flush()
    write_version_tags(tx.session, version.id, details.tags, present={})
    if link and link.manifest:
        store_manifest(tx.session, version, link.manifest)
    tx.session.add(_first_stage(tx, model, version, at))
    tx.session.flush()
    return finish_version(tx, model, version, action=REGISTERED, before=None)


def _check_copied(tx: Transaction, name: str, version_id: str) -> None:
    """Refuse a copy of what was deleted or found changed since it was looked up.

    It may be of another model, which is not locked: two copies the other way round
    would wait for each other. A change that commits after this read comes after the
    copy, as if made a moment later, and the copy is hashed before it is promoted.
    """
    found = queries.artifact_standing(tx.session, version_id)
    if found is None:
        raise ConflictError(f"{name} was deleted while it was being copied")
    require_copyable(name, *found)


def _new_version(
    tx: Transaction, model: RegisteredModel, details: VersionDetails, at: datetime
) -> ModelVersion:
    return ModelVersion(
        id=uuid.uuid4().hex,
        model_id=model.id,
        model_name=model.name,
        number=model.last_number,
        stage=NONE,
        status_message="",
        run_id=_clean_optional(details.run_id, "run_id"),
        run_link=names.clean_text(details.run_link, field="run_link"),
        run=None if details.run is None else dict(details.run),
        logged_model_id=_clean_optional(details.logged_model_id, "logged_model_id"),
        git_commit=_clean_optional(details.git_commit, "git_commit"),
        description=names.clean_text(details.description, field="description"),
        params=_clean_texts(details.params, "params"),
        metrics={
            names.clean_text(name, field="metrics"): value
            for name, value in details.metrics.items()
        },
        datasets=[_clean_texts(dataset, "datasets") for dataset in details.datasets],
        created_at=at,
        created_by=tx.caller.actor.name,
        updated_at=at,
        mlflow_updated_at=at,
        row_version=1,
    )


def _clean_optional(text: str | None, field: str) -> str | None:
    return None if text is None else names.clean_text(text, field=field)


def _clean_texts(given: Mapping[str, str], field: str) -> dict[str, str]:
    return {
        names.clean_text(key, field=field): names.clean_text(value, field=field)
        for key, value in given.items()
    }


def _place_artifact(
    version: ModelVersion, link: LinkedSource | None, artifact_root: str, at: datetime
) -> None:
    version.status = VersionStatus.PENDING_REGISTRATION
    version.artifact_state = "unverified"
    if link is None:
        version.source = upload_source(artifact_root, version.id)
        return
    version.source = link.source
    version.download_uri = link.download_uri
    if not link.is_readable:
        version.status = VersionStatus.READY
    elif link.manifest is None:
        version.seal_after = at


def _first_stage(
    tx: Transaction, model: RegisteredModel, version: ModelVersion, at: datetime
) -> StageChange:
    return StageChange(
        model_id=model.id,
        version_id=version.id,
        number=version.number,
        sequence=model.last_history,
        transition_id=f"trn_{uuid.uuid4().hex}",
        from_stage=None,
        to_stage=NONE,
        cause=Cause.REGISTRATION,
        reason="",
        verified=version.is_verified,
        actor_kind=tx.caller.actor.kind,
        actor_name=tx.caller.actor.name,
        at=at,
    )
