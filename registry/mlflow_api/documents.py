"""Models and versions in the shape that MLflow's clients read.

Rules, as MLflow's server and clients have them:

- Times are whole milliseconds since 1970, as JSON numbers; ``version`` is text.
- Empty lists and what is not set are left out.
- ``status`` is always there: without it, clients take a version for pending and
  wait for five minutes.
- A version has its aliases where it is the answer, not inside a model's
  ``latest_versions`` nor in a search.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from flask import Response

from registry.domain.rows import VersionRow
from registry.persistence.latest import ShownModel, ShownVersion
from registry.web.paging import EMPTY, Filled, json_answer

Row = TypeVar("Row")
Document = dict[str, Any]

_EPOCH = datetime.fromtimestamp(0, UTC)


def list_answer(
    name: str, filled: Filled[Row], token_behind: Callable[[Row], str]
) -> Response:
    """Answer a page of a list, which is left out when it is empty."""
    members = {name: filled.items} if filled.items != EMPTY else {}
    if filled.last is not None:
        members["next_page_token"] = json.dumps(token_behind(filled.last))
    return json_answer(**members)


def model_document(
    model: ShownModel, latest_versions: Sequence[ShownVersion]
) -> Document:
    """Return a ``RegisteredModel``."""
    return _without_empty(
        {
            "name": model.name,
            "creation_timestamp": milliseconds(model.created_at),
            "last_updated_timestamp": milliseconds(model.mlflow_updated_at),
            "description": model.description,
            "latest_versions": [
                version_document(model.name, version) for version in latest_versions
            ],
            "tags": tag_documents(model.tags),
            "aliases": [
                {"alias": alias, "version": str(number)}
                for alias, number in sorted((model.aliases or {}).items())
            ],
        }
    )


def version_document(
    model_name: str, version: VersionRow | ShownVersion, *, aliases: Sequence[str] = ()
) -> Document:
    """Return a ``ModelVersion``; needs its tags loaded.

    Texts that MLflow's own server answers empty are empty here, not left out.
    """
    document = {
        "name": model_name,
        "version": str(version.number),
        "creation_timestamp": milliseconds(version.created_at),
        "last_updated_timestamp": milliseconds(version.mlflow_updated_at),
        "user_id": version.created_by,
        "current_stage": version.stage,
        "description": version.description,
        "source": version.source,
        "run_id": version.run_id or "",
        "run_link": version.run_link,
        "status": version.status,
    }
    rest = {
        "status_message": version.status_message,
        "model_id": version.logged_model_id,
        "tags": tag_documents(version.tags),
        "aliases": sorted(aliases),
    }
    return {**document, **_without_empty(rest)}


def full_version_document(version: VersionRow) -> Document:
    """Return a ``ModelVersion`` with its aliases."""
    return version_document(version.model_name, version, aliases=version.aliases)


def tag_documents(tags: Mapping[str, str] | None) -> list[Document]:
    """Tags as ``[{"key", "value"}]``, by key."""
    return [{"key": key, "value": value} for key, value in sorted((tags or {}).items())]


def milliseconds(instant: datetime) -> int:
    """Whole milliseconds since 1970."""
    return (instant - _EPOCH) // timedelta(milliseconds=1)


def _without_empty(document: Document) -> Document:
    return {
        name: value for name, value in document.items() if value not in (None, "", [])
    }
