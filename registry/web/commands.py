"""How a request changes something: one transaction, committed once, then a wake.

Rules:

- The answer to an idempotency key is looked up first, so that a repeated
  request is answered before anything is verified again.
- The answer is written before the commit and stored in the same transaction, once. Of
  two requests with one key that come at once, the second waits for what the first
  locks, and then finds its answer.
- Only after the commit is the dispatcher woken, where it has something to send.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from flask import Response, current_app, json, request
from werkzeug.http import parse_dict_header

from registry.auth.sign_in import current_caller
from registry.domain.actors import Caller
from registry.errors import (
    CrowdedStageError,
    InvalidInputError,
    RegistryError,
    VerificationNeededError,
)
from registry.persistence.database import change, db, end_reading, reading
from registry.services import idempotency
from registry.services.idempotency import KeyedRequest, StoredAnswer
from registry.services.transaction import Transaction, begin
from registry.web.own_address import own_address
from registry.web.parts import Parts

Found = TypeVar("Found")
Work = Callable[[Transaction], Mapping[str, Any] | None]
#: The status of an answer, or what tells it from the answer's document.
Status = int | Callable[[Mapping[str, Any]], int]


def parts() -> Parts:
    """Return what ``app.py`` wired: policy, store, settings, dispatcher."""
    app_parts: Parts = current_app.extensions["stagegate"]
    return app_parts


def answer_once(carry_out: Callable[[], Response]) -> Response:
    """Answer a repeated request from its idempotency key, else carry it out."""
    keyed = _keyed_request()
    if keyed:
        stored = idempotency.find_answer(reading(), keyed)
        if stored:
            return _replay(stored)
        end_reading()
    return carry_out()


def commit(work: Work, *, status: Status = 200, is_answer: bool = True) -> Response:
    """Run ``work`` in one transaction and answer what it returns.

    None is answered as 204. What is not the request's answer (``is_answer``)
    leaves its idempotency key alone.

    Raises:
        RegistryError: as ``work`` does; nothing is left behind then.
    """
    keyed = _keyed_request() if is_answer else None
    try:
        return _commit(work, keyed, status)
    except (CrowdedStageError, VerificationNeededError):
        raise
    except RegistryError:
        # It may be refused because the same request, sent before, was carried out.
        stored = keyed and _stored(keyed)
        if not stored:
            raise
        return _replay(stored)


def _commit(work: Work, keyed: KeyedRequest | None, status: Status) -> Response:
    with begin(db.engine, caller=_caller(keyed), policy=parts().policy) as tx:
        document = work(tx)
        answer = StoredAnswer(
            status=_status(document, status),
            body="" if document is None else json.dumps(document),
        )
        if keyed:
            # Sealed, since an answer may show a secret that is kept nowhere in clear.
            sealed = StoredAnswer(answer.status, parts().webhooks.box.seal(answer.body))
            idempotency.keep(tx.cx, keyed, sealed, now=tx.now)
    if not tx.is_told_to_nobody:
        parts().dispatcher.wake()
    return _response(answer)


def asked_status(document: Mapping[str, Any]) -> int:
    """Return the status of a stage change: 202 where it became a request."""
    return 202 if "request" in document else 200


def _status(document: Mapping[str, Any] | None, status: Status) -> int:
    if document is None:
        return 204
    return status if isinstance(status, int) else status(document)


def _stored(keyed: KeyedRequest) -> StoredAnswer | None:
    return idempotency.find_answer(reading(), keyed)


def run_without_commit(work: Callable[[Transaction], Found]) -> Found:
    """Return what ``work`` returns, in a transaction that leaves nothing behind.

    Raises:
        RegistryError: as ``work`` does.
    """
    with change(db.engine) as cx:
        tx = Transaction(
            cx=cx, caller=_caller(None), policy=parts().policy, now=datetime.now(UTC)
        )
        result = work(tx)
        cx.rollback()
    return result


def _keyed_request() -> KeyedRequest | None:
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    preferred = parse_dict_header(request.headers.get("Prefer", ""))  # RFC 7240
    is_lenient = preferred.get("handling") == "lenient"
    details = (request.get_json(silent=True), request.headers.get("If-Match", ""))
    return idempotency.keyed_request(
        current_caller().actor.principal,
        key,
        method=request.method,
        path=request.full_path,
        details=() if is_lenient else details,
    )


def _caller(keyed: KeyedRequest | None) -> Caller:
    key_hash = hashlib.sha256(keyed.key.encode()).hexdigest() if keyed else ""
    return dataclasses.replace(
        current_caller(),
        base_url=own_address(parts().settings),
        idempotency_key_hash=key_hash,
    )


def _replay(stored: StoredAnswer) -> Response:
    body = parts().webhooks.box.open(stored.body)
    answer = _response(StoredAnswer(stored.status, body))
    answer.headers["Idempotent-Replayed"] = "true"
    return answer


def _response(answer: StoredAnswer) -> Response:
    return Response(answer.body, status=answer.status, mimetype="application/json")


def if_match() -> str | None:
    """Return the entity tag in ``If-Match``; ``*`` asks for no more than existence.

    Raises:
        InvalidInputError: when it is not one strong entity tag.
    """
    header = request.headers.get("If-Match")
    if header is None or header.strip() == "*":
        return None
    tags = request.if_match.as_set()
    if len(tags) != 1:
        raise InvalidInputError("expected one strong entity tag", field="If-Match")
    return next(iter(tags))
