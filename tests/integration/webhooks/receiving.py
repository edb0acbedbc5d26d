"""Deliveries to receivers that refuse what the real ones refuse."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.integration.webhooks.conftest import World
from tests.receiver import Answer, ReceivedRequest, Receiver
from webhooks.queue.dispatcher import utc_now
from webhooks.sending.prepare import Claim
from webhooks.tables import Attempt, Delivery

TOKEN = "token-of-the-receiver"
DATA = {"model": "Betrug ü", "version": 7, "to_stage": "Production", "tags": {"a": "b"}}


def lend(claim: Claim) -> dict[str, str]:
    return {"deployment_token": f"lent-{claim.event_id}"}


def verify_by_svix(secret: str, request: ReceivedRequest) -> None:
    """Verify by the library of Svix, which takes a second to import."""
    from svix.webhooks import Webhook  # else by each process that finds tests

    Webhook(secret).verify(request.body, request.headers)


@contextmanager
def receiving(
    answers: Callable[[ReceivedRequest], Answer], path: str
) -> Iterator[tuple[Receiver, str]]:
    with Receiver(answers=answers) as receiver:
        yield receiver, f"http://127.0.0.1:{receiver.port}{path}"


def deliver(
    world: World,
    url: str,
    *,
    data: dict[str, Any] | None = None,
    **choices: Any,  # noqa: ANN401  # Any field of SubscriptionSpec.
) -> tuple[Delivery, Attempt]:
    """Subscribe, let one event happen, and send it once."""
    world.subscribe(url, **choices)
    world.enqueue(now=utc_now(), data=DATA if data is None else data)
    world.dispatcher(lend=lend).run_once()
    with world.begin() as session:
        return session.query(Delivery).one(), session.query(Attempt).one()
