"""Rows as the documents that the API answers and the audit log keeps."""

from typing import Any

from registry.domain.timestamps import rfc3339
from registry.persistence.tables import ModelVersion, RegisteredModel, StageChange

Document = dict[str, Any]


def model_document(model: RegisteredModel) -> Document:
    """A registered model; needs the group ``DOCUMENT`` loaded."""
    stages: dict[str, list[int]] = {}
    for number, stage in sorted(
        (int(number), stage) for number, stage in (model.held_stages or {}).items()
    ):
        stages.setdefault(stage, []).append(number)
    return {
        "name": model.name,
        "description": model.description,
        "tags": model.tags or {},
        "aliases": model.aliases or {},
        "stages": stages,
        "latest_version": model.latest_version,
        "created_at": rfc3339(model.created_at),
        "created_by": model.created_by,
        "updated_at": rfc3339(model.updated_at),
    }


def version_document(model_name: str, version: ModelVersion) -> Document:
    """A model version; needs the group ``DOCUMENT`` loaded."""
    return {
        "model": model_name,
        "version": version.number,
        "stage": version.stage,
        "status": version.status,
        "status_message": version.status_message,
        "source": version.source,
        "download_uri": version.artifact_uri,
        "verified": version.is_verified,
        "artifact_digest": version.artifact_digest,
        "artifact_size_bytes": version.artifact_size_bytes,
        "run_id": version.run_id,
        "run_link": version.run_link,
        "run": version.run,
        "logged_model_id": version.logged_model_id,
        "git_commit": version.git_commit,
        "description": version.description,
        "tags": version.tags or {},
        "params": version.params,
        "metrics": version.metrics,
        "datasets": version.datasets,
        "aliases": sorted(version.aliases or []),
        "created_at": rfc3339(version.created_at),
        "created_by": version.created_by,
        "updated_at": rfc3339(version.updated_at),
    }


def stage_change_document(change: StageChange) -> Document:
    """One line of a model's history."""
    return {
        "transition_id": change.transition_id,
        "sequence": change.sequence,
        "version": change.number,
        "from_stage": change.from_stage,
        "to_stage": change.to_stage,
        "cause": change.cause,
        "reason": change.reason,
        "verified": change.verified,
        "actor": {"kind": change.actor_kind, "name": change.actor_name},
        "at": rfc3339(change.at),
    }


def version_etag(version: ModelVersion) -> str:
    """The strong entity tag of a version: it changes with every change."""
    return f"{version.id}.{version.row_version}"
