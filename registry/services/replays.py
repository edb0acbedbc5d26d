"""Replays: a range of a subscription's deliveries is sent again.

The package ``webhooks`` calls ``subject_pattern`` what is ``model_pattern`` here,
and ``delivery_states`` what is ``states``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from sqlalchemy.orm import Session

from registry.domain.documents import Document
from registry.domain.entries import Change
from registry.domain.timestamps import parse_rfc3339, rfc3339
from registry.errors import ConflictError, InvalidInputError, NotFoundError
from registry.services import audit, subscriptions
from registry.services.transaction import Transaction
from webhooks import replays
from webhooks.errors import (
    InvalidReplayError,
    ReplayStateError,
    UnknownReplayError,
)
from webhooks.replays import ReplaySpec
from webhooks.subscriptions import get as get_subscription
from webhooks.tables import Replay

REPLAYED = "webhook.replayed"
CANCELLED = "webhook.replay_cancelled"

_OUR_NAMES = {"subject_pattern": "model_pattern", "delivery_states": "states"}


@contextmanager
def _translated() -> Iterator[None]:
    """Errors of ``webhooks`` as ours, with our names of fields."""
    try:
        with subscriptions.translated():
            yield
    except InvalidReplayError as error:
        field = _OUR_NAMES.get(error.field, error.field)
        raise InvalidInputError(error.message, field=field) from error
    except UnknownReplayError as error:
        raise NotFoundError(error.message) from error
    except ReplayStateError as error:
        raise ConflictError(error.message) from error


def count_replay(
    tx: Transaction, subscription_id: str, given: Mapping[str, Any]
) -> Document:
    """How many deliveries a replay would send again; nothing is sent.

    Raises:
        NotFoundError: when there is no such subscription.
        InvalidInputError: naming the field at fault.
    """
    with _translated():
        number = replays.count(tx.session, subscription_id, _spec(given), now=tx.now)
    return {"count": number}


def create_replay(
    tx: Transaction, subscription_id: str, given: Mapping[str, Any]
) -> Document:
    """Begin to send a range again; the worker carries it out.

    Raises:
        NotFoundError: when there is no such subscription.
        InvalidInputError: naming the field at fault.
    """
    with _translated():
        replay = replays.create(
            tx.session,
            subscription_id,
            _spec(given),
            created_by=tx.caller.actor.name,
            now=tx.now,
        )
    document = replay_document(replay)
    _record(tx, REPLAYED, document)
    return document


def cancel_replay(tx: Transaction, subscription_id: str, replay_id: str) -> Document:
    """Send nothing more of a replay.

    Raises:
        NotFoundError: when there is none.
        ConflictError: when it has ended.
    """
    with _translated():
        replay = replays.cancel(tx.session, subscription_id, replay_id, now=tx.now)
    document = replay_document(replay)
    _record(tx, CANCELLED, document)
    return document


def get_replay(session: Session, subscription_id: str, replay_id: str) -> Replay:
    """One replay.

    Raises:
        NotFoundError: when there is none.
    """
    with _translated():
        return replays.get(session, subscription_id, replay_id)


def list_replays(
    session: Session, subscription_id: str, *, limit: int, before: str | None
) -> Sequence[Replay]:
    """A subscription's replays, newest first.

    Raises:
        NotFoundError: when there is no such subscription.
    """
    with _translated():
        get_subscription(session, subscription_id)
    return replays.list_page(session, subscription_id, limit=limit, before=before)


def has_running(session: Session) -> bool:
    """Whether any replay has something left to do."""
    return replays.has_running(session)


def advance(
    begin: Callable[[], AbstractContextManager[Transaction]],
) -> Iterator[int]:
    """Go on with every replay that is due, a transaction for each step."""
    while True:
        with begin() as tx:
            stored = replays.step(tx.session, now=tx.now)
        if stored is None:
            return
        yield stored


def _spec(given: Mapping[str, Any]) -> ReplaySpec:
    instants = {
        name: parse_rfc3339(given[name], field=name)
        for name in ("since", "until")
        if given.get(name) is not None
    }
    return ReplaySpec(
        **instants,
        event_types=given.get("event_types"),
        subject_pattern=given.get("model_pattern"),
        delivery_states=given.get("states"),
        per_second=given["per_second"],
    )


def _record(tx: Transaction, action: str, document: Document) -> None:
    audit.log(tx, Change(action=action, after=document))


def replay_document(replay: Replay) -> Document:
    """A replay as the API shows it."""
    return {
        "id": replay.id,
        "webhook_id": replay.subscription_id,
        "state": str(replay.state),
        "total": replay.total,
        "done": replay.done,
        "since": replay.since and rfc3339(replay.since),
        "until": rfc3339(replay.until),
        "event_types": replay.event_types,
        "model_pattern": replay.subject_pattern,
        "states": replay.delivery_states,
        "per_second": replay.per_second,
        "created_at": rfc3339(replay.created_at),
        "created_by": replay.created_by,
        "updated_at": rfc3339(replay.updated_at),
    }
