"""The ``cloudevents`` format: CloudEvents 1.0 over HTTP.

Options:

- ``mode``: ``binary`` (default: attributes in ``ce-`` headers, the data as body) or
  ``structured`` (all in one JSON document).
- ``source``: a URI reference (default ``stagegate``); ``type_prefix``: put before the
  event's type, such as ``com.example.``.
- ``hub_signature``: a text with a credential, with which the body is signed besides,
  as ``X-Hub-Signature-256``, for Tekton's interceptors.

The id is the ``webhook-id``. Receipt: the ``eventID`` of a Tekton event listener.
Source: CloudEvents 1.0.2, "HTTP Protocol Binding" and "JSON Event Format".
"""

import re
from dataclasses import dataclass
from urllib.parse import quote

from webhooks.errors import InvalidSubscriptionError
from webhooks.events import Event
from webhooks.formats.contract import Format, Options, Rendered
from webhooks.formats.keyed import HUB_OPTION, read_hub_signature
from webhooks.formats.options import document_of, read_choice, read_text, require_known
from webhooks.formats.standard import receipt
from webhooks.formats.writing import JSON_CONTENT_TYPE, json_bytes

DEFAULT_SOURCE = "stagegate"
STRUCTURED_CONTENT_TYPE = "application/cloudevents+json"
_URI_REFERENCE = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
_TYPE_PREFIX = re.compile(r"([A-Za-z0-9_-]+\.)+")
# HTTP binding, section 3.1.3.2: printable ASCII but the double quote and the percent
# sign stands for itself.
_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


@dataclass(frozen=True)
class _Envelope:
    is_binary: bool
    source: str
    type_prefix: str


def check(options: Options) -> _Envelope:
    """Read the options.

    Raises:
        InvalidSubscriptionError: one is unknown or of the wrong kind.
    """
    require_known(options, "mode", "source", "type_prefix", HUB_OPTION)
    read_hub_signature(options)
    source = read_text(options, "source", DEFAULT_SOURCE)
    if not _URI_REFERENCE.fullmatch(source):
        raise InvalidSubscriptionError("options.source", "must be a URI reference")
    prefix = ""
    if "type_prefix" in options:
        prefix = read_text(options, "type_prefix")
        if not _TYPE_PREFIX.fullmatch(prefix):
            raise InvalidSubscriptionError(
                "options.type_prefix", "must be dotted words with a dot at the end"
            )
    mode = read_choice(options, "mode", ("binary", "structured"))
    return _Envelope(mode == "binary", source, prefix)


def render(message_id: str, event: Event, options: Options) -> Rendered:
    """Put the event into its envelope."""
    envelope = check(options)
    document = document_of(message_id, event)
    attributes = {
        "specversion": "1.0",
        "id": message_id,
        "type": envelope.type_prefix + event.type,
        "source": envelope.source,
        "time": document["timestamp"],
    }
    if event.subject:
        attributes["subject"] = event.subject
    if envelope.is_binary:
        headers = {
            f"ce-{name}": quote(value, _SAFE) for name, value in attributes.items()
        }
        return Rendered(json_bytes(document["data"]), JSON_CONTENT_TYPE, headers)
    content = {"datacontenttype": JSON_CONTENT_TYPE, "data": document["data"]}
    return Rendered(json_bytes(attributes | content), STRUCTURED_CONTENT_TYPE)


FORMAT = Format(check=check, render=render, receipt=receipt, lends_by_header=True)
