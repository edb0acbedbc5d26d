"""The ``standard`` format: the Standard Webhooks 1.0 body, unchanged.

Options:

- ``hub_signature``: a text with a credential, such as ``${HUB_SECRET}``, with which
  the body is signed besides, as ``X-Hub-Signature-256``.

Receipt: the ``eventID`` of a Tekton event listener.
"""

from collections.abc import Mapping

from webhooks.events import Event, standard_body
from webhooks.formats.contract import Format, Options, Rendered, first_text, json_object
from webhooks.formats.keyed import HUB_OPTION, read_hub_signature
from webhooks.formats.options import require_known
from webhooks.formats.writing import JSON_CONTENT_TYPE


def check(options: Options) -> None:
    """Read the options.

    Raises:
        InvalidSubscriptionError: one is unknown or of the wrong kind.
    """
    require_known(options, HUB_OPTION)
    read_hub_signature(options)


def render(message_id: str, event: Event, options: Options) -> Rendered:
    """Return the standard body; the message id travels in a header."""
    del message_id, options
    return Rendered(standard_body(event), JSON_CONTENT_TYPE)


def receipt(status: int, headers: Mapping[str, str], body: bytes) -> str | None:
    """Find the id that a Tekton event listener gave the event."""
    del status, headers
    return first_text(json_object(body).get("eventID"))


FORMAT = Format(check=check, render=render, receipt=receipt, lends_by_header=True)
