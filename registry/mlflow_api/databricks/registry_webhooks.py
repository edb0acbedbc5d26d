"""``/mlflow/registry-webhooks``: our subscriptions of the format ``databricks``.

Rules:

- A webhook is of one model, which it follows when that is renamed, or of the whole
  registry.
- Databricks' jobs are not ours to start: ``job_spec`` is refused.
- A receiver's certificate is always verified.
- TEST_MODE sends tests alone, and holds nothing for later.
"""

import re
from collections.abc import Mapping
from glob import escape
from typing import Any

from flask import Blueprint, Response, jsonify, request

from registry.auth.permissions import Permission, requires
from registry.domain.events import OPT_IN
from registry.errors import InvalidInputError
from registry.mlflow_api.documents import Document, milliseconds
from registry.mlflow_api.reading import Fields, fields_anywhere, fields_of, missing
from registry.mlflow_api.subscriptions import (
    ACTIVE,
    DISABLED,
    STATES,
    answered_text,
    commit_change,
    delete,
    find,
    list_documents,
    read_page,
    send_test,
    status_of,
)
from registry.persistence import queries
from registry.persistence.database import reading_session
from registry.services import subscriptions as service
from registry.services.transaction import Transaction
from registry.web.commands import parts
from webhooks import subscriptions
from webhooks.events import matches_event_type
from webhooks.formats.registries import NAMES, SECRET
from webhooks.tables import Subscription

blueprint = Blueprint(
    "registry_webhooks", __name__, url_prefix="/mlflow/registry-webhooks"
)

FORMAT = "databricks"
TEST_MODE = "TEST_MODE"
_AUTHORIZATION = "authorization"
_MODEL_CREATED = "REGISTERED_MODEL_CREATED"
_ESCAPED = re.compile(r"\[([*?[])\]")


@blueprint.post("/create")
@requires(Permission.ADMIN)
def create_webhook() -> Response:
    """Subscribe an endpoint to the events of a model, or of all."""
    fields = fields_of(request)
    model_name, names = fields.optional("model_name") or None, _names(fields)
    status = _status(fields) or ACTIVE
    settings = {"description": fields.text("description"), **_endpoint(fields)}
    if not names:
        raise missing("events")
    if "url" not in settings:
        raise missing("http_url_spec.url")
    _check_scope(names, model_name)

    def work(tx: Transaction) -> Document:
        if model_name is not None:
            queries.model_id(tx.cx, model_name)
        new = {
            **settings,
            "format": FORMAT,
            "credentials": {
                name: text
                for name, text in settings.get("credentials", {}).items()
                if text is not None
            },
            "model_pattern": None if model_name is None else escape(model_name),
            **_choices({}, names, status),
        }
        state = new.pop("state")
        created = service.create_subscription(tx, parts().webhooks, new)
        if state != STATES[ACTIVE]:
            _update(tx, created["id"], {"state": state})
        return _answer(tx, created["id"])

    return commit_change(work)


@blueprint.get("/list")
@requires(Permission.ADMIN)
def list_webhooks() -> Response:
    """List webhooks, newest first: those of a model, those of some events."""
    fields = fields_anywhere(request)
    limit, before = read_page(fields)
    model_name, events = fields.optional("model_name"), set(_names(fields))
    rows = (
        row
        for row in subscriptions.list_of_format(
            reading_session(), FORMAT, before=before
        )
        if (model_name is None or _model_name(row) == model_name)
        and (not events or events & set(_event_names(row)))
    )
    return list_documents(rows, limit, document=_document)


@blueprint.patch("/update")
@requires(Permission.ADMIN)
def update_webhook() -> Response:
    """Change what is given of a webhook."""
    fields = fields_of(request)
    webhook_id, names = fields.required("id"), _names(fields)
    status, description = _status(fields), fields.optional("description")
    settings = {
        **({} if description is None else {"description": description}),
        **_endpoint(fields),
    }

    def work(tx: Transaction) -> Document:
        row = find(tx.session, webhook_id, name=FORMAT)
        _check_scope(names, row.subject_pattern)
        _update(tx, webhook_id, {**settings, **_choices(row.options, names, status)})
        return _answer(tx, webhook_id)

    return commit_change(work)


@blueprint.delete("/delete")
@requires(Permission.ADMIN)
def delete_webhook() -> Response:
    """Delete a webhook; what it still waited for is given up."""
    return delete(fields_anywhere(request).required("id"), name=FORMAT)


@blueprint.post("/test")
@requires(Permission.ADMIN)
def test_webhook() -> Response:
    """Send an example now and answer what the receiver answered."""
    fields = fields_of(request)
    sample = fields.optional("event")
    if sample is not None:
        _check_name(sample)
    result = send_test(fields.required("id"), name=FORMAT, sample=sample)
    if result.status is None:
        return jsonify({"body": result.error})
    return jsonify({"status_code": result.status, "body": answered_text(result)})


def _update(tx: Transaction, webhook_id: str, changes: Document) -> None:
    if changes:
        service.update_subscription(tx, parts().webhooks, webhook_id, changes)


def _answer(tx: Transaction, webhook_id: str) -> Document:
    return {"webhook": _document(find(tx.session, webhook_id, name=FORMAT))}


def _document(row: Subscription) -> Document:
    """Return a ``RegistryWebhook``, without its secrets."""
    document = {
        "id": row.id,
        "events": _event_names(row),
        "model_name": _model_name(row),
        "description": row.description,
        "http_url_spec": {"url": row.url, "enable_ssl_verification": True},
        "status": TEST_MODE if row.options.get("test_mode") else status_of(row),
        "creation_timestamp": milliseconds(row.created_at),
        "last_updated_timestamp": milliseconds(row.updated_at),
    }
    return {name: value for name, value in document.items() if value not in ("", None)}


def _model_name(row: Subscription) -> str | None:
    pattern = row.subject_pattern
    return None if pattern is None else _ESCAPED.sub(r"\1", pattern)


def _event_names(row: Subscription) -> list[str]:
    """Return the names it asks for; one of our own API asks by type."""
    if "events" in row.options:
        return list(row.options["events"])
    return [
        name
        for name, (event_type, target) in NAMES.items()
        if target is None
        and (
            event_type in row.event_types
            if event_type in OPT_IN
            else matches_event_type(row.event_types, event_type)
        )
    ]


def _names(fields: Fields) -> list[str]:
    """Return the names in ``events``, each once."""
    names = list(dict.fromkeys(fields.texts("events")))
    for name in names:
        _check_name(name)
    return names


def _check_name(name: str) -> None:
    if name not in NAMES:
        raise InvalidInputError(
            f"{name[:80]!r} must be one of {', '.join(NAMES)}", field="events"
        )


def _check_scope(names: list[str], model: str | None) -> None:
    if model is not None and _MODEL_CREATED in names:
        raise InvalidInputError(
            f"{_MODEL_CREATED} is of the whole registry; leave model_name out",
            field="events",
        )


def _endpoint(fields: Fields) -> Document:
    """Return what ``http_url_spec`` says, as far as it is given."""
    if fields.document("job_spec") is not None:
        raise InvalidInputError(
            "starts a job of a Databricks workspace, which this registry cannot;"
            " give an http_url_spec",
            field="job_spec",
        )
    spec = fields.document("http_url_spec") or Fields({})
    if not spec.flag("enable_ssl_verification", default=True):
        raise InvalidInputError(
            "certificates are always verified; a private authority is given to"
            " /api/v1/webhooks as ca_certificate",
            field="enable_ssl_verification",
        )
    url = spec.text("url")
    credentials = {
        name: text or None
        for name in (SECRET, _AUTHORIZATION)
        if (text := spec.optional(name)) is not None
    }
    return {
        **({"url": url} if url else {}),
        **({"credentials": credentials} if credentials else {}),
    }


def _choices(
    options: Mapping[str, Any], names: list[str], status: str | None
) -> Document:
    """Events and status as a subscription has them."""
    chosen: Document = {}
    if names:
        chosen["event_types"] = list(dict.fromkeys(NAMES[name][0] for name in names))
        options = {**options, "events": names}
    if status is not None:
        # In test mode, what is held from before stays held.
        chosen["state"] = STATES.get(status, STATES[DISABLED])
        options = {**options, "test_mode": status == TEST_MODE}
    return chosen | ({"options": options} if names or status else {})


def _status(fields: Fields) -> str | None:
    status = fields.optional("status")
    if status is not None and status not in {*STATES, TEST_MODE}:
        raise InvalidInputError(
            f"{status[:80]!r} must be one of {', '.join(STATES)}, {TEST_MODE}",
            field="status",
        )
    return status
