"""``/mlflow/webhooks``: our subscriptions of the format ``mlflow``.

Rules, as MLflow's server and clients have them:

- A pair that MLflow knows and we never announce (budgets) is taken, as MLflow's
  server takes it, and stays silent.
- An empty name, URL or list of events in an update leaves it as it is; an empty
  secret removes the signature.
- A test succeeds when the receiver answers 2xx, as a delivery does. A status says what
  came of it; an error is told where there is none, or where MLflow would have followed.
- Events are given back in the order in which they were asked for.
- What failed is tried again as soon as MLflow does it, and then for as long as we do.
"""

from flask import Blueprint, Response, jsonify, request

from registry.auth.permissions import Permission, requires
from registry.domain.events import OPT_IN
from registry.errors import InvalidInputError
from registry.mlflow_api.documents import Document, milliseconds
from registry.mlflow_api.reading import Fields, fields_of, missing
from registry.mlflow_api.subscriptions import (
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
from registry.persistence.database import reading_session
from registry.services import subscriptions as service
from registry.services.transaction import Transaction
from registry.web.commands import parts
from webhooks import subscriptions
from webhooks.events import matches_event_type
from webhooks.formats.registries import FIRED, MLFLOW_NAME, SECRET, WORDS
from webhooks.queue.schedule import SCHEDULE_SECONDS as OUR_SCHEDULE_SECONDS
from webhooks.tables import Subscription

blueprint = Blueprint("webhooks", __name__, url_prefix="/mlflow/webhooks")

FORMAT = "mlflow"
_TYPES = {
    (word.entity.upper(), word.action.upper()): name for name, word in WORDS.items()
}
#: MLflow's retries come after 0, 2 and 4 seconds; ours go on from there.
SCHEDULE_SECONDS = (0, 1, 2, 4, *OUR_SCHEDULE_SECONDS[2:])
_ENTITIES = sorted({entity for entity, _ in _TYPES})


@blueprint.post("")
@requires(Permission.ADMIN)
def create_webhook() -> Response:
    """Subscribe an endpoint."""
    fields = fields_of(request)
    secret = fields.text("secret")
    members = {
        "format": FORMAT,
        "options": {"name": _name(fields.required("name"))},
        "url": fields.required("url"),
        "description": fields.text("description"),
        "event_types": _event_types(fields),
        "credentials": {SECRET: secret} if secret else {},
        "schedule_seconds": SCHEDULE_SECONDS,
    }
    state = _state(fields)
    if not members["event_types"]:
        raise missing("events")

    def work(tx: Transaction) -> Document:
        created = service.create_subscription(tx, parts().webhooks, members)
        is_active = state.get("state", created["state"]) == created["state"]
        return _update(tx, created["id"], {} if is_active else state)

    return commit_change(work)


@blueprint.get("")
@requires(Permission.ADMIN)
def list_webhooks() -> Response:
    """List webhooks, newest first."""
    limit, before = read_page(fields_of(request))
    rows = subscriptions.list_of_format(
        reading_session(), FORMAT, limit=limit + 1, before=before
    )
    return list_documents(rows, limit, document=webhook_document)


@blueprint.get("/<webhook_id>")
@requires(Permission.ADMIN)
def get_webhook(webhook_id: str) -> Response:
    """Show a webhook."""
    row = find(reading_session(), webhook_id, name=FORMAT)
    return jsonify({"webhook": webhook_document(row)})


@blueprint.patch("/<webhook_id>")
@requires(Permission.ADMIN)
def update_webhook(webhook_id: str) -> Response:
    """Change what the request names of a webhook."""
    fields = fields_of(request)
    name, url = fields.text("name"), fields.text("url")
    description, secret = fields.optional("description"), fields.optional("secret")
    event_types = _event_types(fields)
    changes: Document = {
        **({"options": {"name": _name(name)}} if name else {}),
        **({"url": url} if url else {}),
        **({} if description is None else {"description": description}),
        **({"event_types": event_types} if event_types else {}),
        **({} if secret is None else {"credentials": {SECRET: secret or None}}),
        **_state(fields),
    }

    def work(tx: Transaction) -> Document:
        find(tx.session, webhook_id, name=FORMAT)
        return _update(tx, webhook_id, changes)

    return commit_change(work)


@blueprint.delete("/<webhook_id>")
@requires(Permission.ADMIN)
def delete_webhook(webhook_id: str) -> Response:
    """Delete a webhook; what it still waited for is given up."""
    return delete(webhook_id, name=FORMAT)


@blueprint.post("/<webhook_id>/test")
@requires(Permission.ADMIN)
def test_webhook(webhook_id: str) -> Response:
    """Send an example now and answer what came of it."""
    event = fields_of(request).document("event")
    sample = None if event is None else _event_type(event)
    result = send_test(webhook_id, name=FORMAT, sample=sample)
    said: Document = {"success": result.is_delivered}
    if result.status is not None:
        said["response_status"] = result.status
        said["response_body"] = answered_text(result)
    if result.error is not None and (result.status is None or result.is_redirect):
        said["error_message"] = result.error
    return jsonify({"result": said})


def webhook_document(row: Subscription) -> Document:
    """Return a ``Webhook``; one that was made by our own API is called by its id."""
    document = {
        "webhook_id": row.id,
        "name": row.options.get("name", row.id),
        "description": row.description,
        "url": row.url,
        "events": [
            {"entity": word.entity.upper(), "action": word.action.upper()}
            for word in map(WORDS.__getitem__, _types_told(row))
        ],
        "status": status_of(row),
        "creation_timestamp": milliseconds(row.created_at),
        "last_updated_timestamp": milliseconds(row.updated_at),
    }
    return {name: value for name, value in document.items() if value not in ("", [])}


def _types_told(row: Subscription) -> list[str]:
    """Return the types it asks for, in its order; ``*`` asks for all but budgets."""
    ordinary = [name for name in FIRED if name not in OPT_IN]
    told: dict[str, None] = {}
    for entry in row.event_types:
        types = [entry] if entry in WORDS else ordinary
        told |= {name: None for name in types if matches_event_type([entry], name)}
    return list(told)


def _update(tx: Transaction, webhook_id: str, changes: Document) -> Document:
    if changes:
        service.update_subscription(tx, parts().webhooks, webhook_id, changes)
    return {"webhook": webhook_document(find(tx.session, webhook_id, name=FORMAT))}


def _name(name: str) -> str:
    if not MLFLOW_NAME.fullmatch(name):
        raise InvalidInputError(
            f"Webhook name {name[:80]!r} is invalid. It must start and end with a"
            " letter or digit, have at most 63 characters, and contain only letters,"
            " digits, dots (.), underscores (_), and hyphens (-)."
        )
    return name


def _event_types(fields: Fields) -> list[str]:
    """Return the event types of ``events``, each once."""
    return list(dict.fromkeys(map(_event_type, fields.documents("events"))))


def _event_type(event: Fields) -> str:
    entity, action = event.required("entity"), event.required("action")
    if entity not in _ENTITIES:
        raise InvalidInputError(
            f"Invalid entity '{entity[:80]}'. Valid entities are: {_ENTITIES}"
        )
    if (entity, action) not in _TYPES:
        valid = sorted(known for of, known in _TYPES if of == entity)
        raise InvalidInputError(
            f"Invalid action '{action[:80]}' for entity '{entity}'. "
            f"Valid actions are: {valid}"
        )
    return _TYPES[entity, action]


def _state(fields: Fields) -> Document:
    """Return the change of state that ``status`` asks for, or none."""
    status = fields.optional("status")
    if status is None:
        return {}
    if status not in STATES:
        raise InvalidInputError(
            f"Invalid webhook status '{status[:80]}'. Valid ones are: {sorted(STATES)}"
        )
    return {"state": STATES[status]}
