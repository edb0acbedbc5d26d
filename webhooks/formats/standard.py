"""The ``standard`` format: the Standard Webhooks 1.0 body, unchanged."""

from webhooks.events import Event, standard_body

CONTENT_TYPE = "application/json"


def render(message_id: str, event: Event) -> bytes:
    """Give the standard body; the message id travels in a header."""
    del message_id
    return standard_body(event)
