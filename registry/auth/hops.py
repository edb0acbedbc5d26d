"""Loops: webhooks whose receivers make changes, which make webhooks.

Rules:

- Each delivery carries ``webhook-hop``: how many webhooks led to it. A request that
  passes it on makes events one hop farther.
- A change ``MAX_HOPS`` webhooks away from its origin is refused. It is not made and
  left unannounced instead: then anybody who may make a change could keep it from
  those who are to hear of it, by sending a header.
- The refusal also tells a delivery that came here directly to try no more.
- Reading changes nothing, and is never refused.
"""

import re

from flask import Response, g, request

from registry.errors import InvalidInputError, WebhookLoopError

HOP_HEADER = "webhook-hop"
MAX_HOPS = 5
_HOP = re.compile(r"[0-9]{1,3}")
READING = frozenset({"GET", "HEAD", "OPTIONS"})


def hop_of_request() -> int:
    """Return how many webhooks led to the present request.

    Raises:
        WebhookLoopError: too many, and it is to change something.
        InvalidInputError: when the header is no number.
    """
    header = request.headers.get(HOP_HEADER)
    if header is None or request.method in READING:
        return 0
    if not _HOP.fullmatch(header):
        raise InvalidInputError("must be a number of up to 3 digits", field=HOP_HEADER)
    if int(header) >= MAX_HOPS:
        g.is_webhook_loop = True
        raise WebhookLoopError(
            f"{header} webhooks led to this request, one after the other, and there may"
            f" be fewer than {MAX_HOPS}: does a receiver make the changes that it is"
            " told of?"
        )
    return int(header)


def ask_for_no_more(answer: Response) -> Response:
    """Say so to the sender, if a webhook was sent here directly."""
    if g.get("is_webhook_loop"):
        answer.headers["webhook-delivery"] = "abort-message"
    return answer
