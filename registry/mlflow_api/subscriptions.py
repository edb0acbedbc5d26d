"""Subscriptions of one format, as the webhook APIs of other registries see them.

Rules:

- They are rows of ``/api/v1/webhooks`` under its rules; those of another format are
  not found.
- ``paused`` is what these APIs call DISABLED: what happens meanwhile is held, and
  sent once the webhook is ACTIVE again. A webhook that its receiver's 410 disabled is
  DISABLED too.
- A field at fault is told by the name that it has in the request.
"""

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus

from flask import Response
from sqlalchemy.orm import Session

from registry.domain.documents import Document
from registry.domain.names import clean_text
from registry.errors import InvalidInputError
from registry.mlflow_api.documents import list_answer
from registry.mlflow_api.errors import MlflowError
from registry.mlflow_api.reading import Fields
from registry.services import subscriptions as service
from registry.services.transaction import Transaction
from registry.web.commands import commit, parts
from registry.web.paging import decode_cursor, encode_cursor, fill
from webhooks import subscriptions
from webhooks.errors import UnknownSubscriptionError
from webhooks.formats.registries import SECRET
from webhooks.sending.sender import SendResult
from webhooks.tables import Subscription, SubscriptionState

ACTIVE, DISABLED = "ACTIVE", "DISABLED"
STATES: Mapping[str, str] = {
    ACTIVE: str(SubscriptionState.ACTIVE),
    DISABLED: str(SubscriptionState.PAUSED),
}
DEFAULT_PAGE = 100
MAX_PAGE = 1000

_FIELDS = {
    f"credentials.{SECRET}": "secret",
    "credentials.authorization": "authorization",
    "event_types": "events",
}


def find(session: Session, webhook_id: str, *, name: str) -> Subscription:
    """Find a subscription of the named format.

    Raises:
        MlflowError: there is none, in MLflow's words.
    """
    try:
        subscription = subscriptions.get(session, clean_text(webhook_id, field="id"))
    except (UnknownSubscriptionError, InvalidInputError):
        subscription = None
    if subscription is None or subscription.format != name:
        raise MlflowError(
            "RESOURCE_DOES_NOT_EXIST",
            f"Webhook with ID {webhook_id} not found.",
            status=HTTPStatus.NOT_FOUND,
        )
    return subscription


def status_of(row: Subscription) -> str:
    """Whether it is sent what happens."""
    return ACTIVE if row.state == SubscriptionState.ACTIVE else DISABLED


def read_page(fields: Fields) -> tuple[int, str | None]:
    """Return how many to list, and the id before which to begin.

    Raises:
        InvalidInputError: for a number out of range, or a token of no list.
    """
    limit = fields.whole_number("max_results") or DEFAULT_PAGE
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInputError(f"max_results must be between 1 and {MAX_PAGE}.")
    token = fields.optional("page_token") or None
    return limit, decode_cursor(token, str, field="page_token")


def commit_change(work: Callable[[Transaction], Document]) -> Response:
    """Commit the change of a subscription and answer it.

    Raises:
        InvalidInputError: with the request's own name of the field.
    """
    try:
        return commit(work)
    except InvalidInputError as error:
        if error.field == "url":
            raise InvalidInputError(f"Invalid webhook URL: {error.message}") from error
        field = _FIELDS.get(error.field or "", error.field)
        raise InvalidInputError(error.message, field=field) from error


def delete(webhook_id: str, *, name: str) -> Response:
    """Delete a subscription of the named format."""

    def work(tx: Transaction) -> Document:
        find(tx.session, webhook_id, name=name)
        service.delete_subscription(tx, webhook_id)
        return {}

    return commit(work)


def send_test(webhook_id: str, *, name: str, sample: str | None) -> SendResult:
    """Send an example now, and note who asked for it.

    Raises:
        MlflowError: there is no such subscription.
        BusyError: others are being sent.
    """

    def work(tx: Transaction) -> None:
        find(tx.session, webhook_id, name=name)
        service.log_test(tx, webhook_id)

    with parts().rooms.tests.place(), service.translated():
        commit(work, is_answer=False)
        return parts().dispatcher.send_test(webhook_id, sample=sample).result


def list_documents(
    rows: Iterable[Subscription],
    limit: int,
    *,
    document: Callable[[Subscription], Document],
) -> Response:
    """Answer a page of webhooks; ``rows`` holds one more where there is."""
    filled = fill(rows, limit, document=document)
    return list_answer("webhooks", filled, lambda row: encode_cursor(row.id))


def answered_text(result: SendResult) -> str:
    """Return the body of a receiver's answer."""
    return result.response_body.decode("utf-8", "replace")
