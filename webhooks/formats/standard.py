"""The formats ``standard`` and ``cloudevents``, and the signature for Tekton.

``standard`` is the Standard Webhooks 1.0 body, unchanged. ``cloudevents`` is
CloudEvents 1.0 over HTTP; its id is the ``webhook-id``.

With ``hub_signature``, a credential such as ``${HUB_SECRET}``, the body of either is
signed besides, as ``X-Hub-Signature-256``: HMAC-SHA256 over the body alone, as
hexadecimal after ``sha256=``. Neither id nor time is covered, so it is opt-in and
never replaces the standard signature.

The ``mode`` of ``cloudevents`` is ``binary`` (default: attributes in ``ce-`` headers,
the data as body) or ``structured`` (all in one JSON document).

Receipt: the ``eventID`` of a Tekton event listener. Sources: CloudEvents 1.0.2, "HTTP
Protocol Binding" and "JSON Event Format"; GitHub, "Validating webhook deliveries";
Tekton's ``github`` interceptor.
"""

import hmac
import re
from urllib.parse import quote

from webhooks.events import Event, standard_body
from webhooks.formats.contract import (
    Format,
    Option,
    OptionKind,
    Options,
    Reader,
    Rendered,
    document_of,
    json_request,
    receipt_in,
    refuse,
)
from webhooks.formats.writing import JSON_CONTENT_TYPE, PLACEHOLDER, json_bytes

HUB_OPTION = "hub_signature"
HUB_HEADER = "x-hub-signature-256"
_URI_REFERENCE = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
_TYPE_PREFIX = re.compile(r"([A-Za-z0-9_-]+\.)+")
# HTTP binding, section 3.1.3.2: printable ASCII but the double quote and the percent
# sign stands for itself.
_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


def read_hub_signature(options: Options) -> str | None:
    """Read which credential signs, as one placeholder; None where none does.

    Raises:
        InvalidSubscriptionError: it is something else.
    """
    if HUB_OPTION not in options:
        return None
    template = options[HUB_OPTION]
    if not (isinstance(template, str) and PLACEHOLDER.fullmatch(template)):
        refuse(HUB_OPTION, "must be ${NAME}, the name of a credential")
    return template


def hub_signature(secret: str, body: bytes) -> str:
    """Sign a body with the characters of the secret."""
    return "sha256=" + hmac.digest(secret.encode(), body, "sha256").hex()


def _check_standard(options: Options) -> None:
    Reader(options).require_known(HUB_OPTION)
    read_hub_signature(options)


def _render_standard(_message_id: str, event: Event, _options: Options) -> Rendered:
    return Rendered(standard_body(event), JSON_CONTENT_TYPE)


def _check_cloudevents(options: Options) -> tuple[str, str, str]:
    """Return mode, source and type prefix."""
    read = Reader(options)
    read.require_known("mode", "source", "type_prefix", HUB_OPTION)
    read_hub_signature(options)
    source = read.text("source", "stagegate")
    if not _URI_REFERENCE.fullmatch(source):
        refuse("source", "must be a URI reference")
    prefix = read.text("type_prefix") if "type_prefix" in options else ""
    if prefix and not _TYPE_PREFIX.fullmatch(prefix):
        refuse("type_prefix", "must be dotted words with a dot at the end")
    return read.choice("mode", "binary", "structured"), source, prefix


def _render_cloudevents(message_id: str, event: Event, options: Options) -> Rendered:
    mode, source, prefix = _check_cloudevents(options)
    document = document_of(message_id, event)
    attributes = {
        "specversion": "1.0",
        "id": message_id,
        "type": prefix + event.type,
        "source": source,
        "time": document["timestamp"],
    }
    if event.subject:
        attributes["subject"] = event.subject
    if mode == "binary":
        headers = {
            f"ce-{name}": quote(value, _SAFE) for name, value in attributes.items()
        }
        return json_request(document["data"], headers)
    content = {"datacontenttype": JSON_CONTENT_TYPE, "data": document["data"]}
    return Rendered(json_bytes(attributes | content), "application/cloudevents+json")


_RECEIPT = receipt_in("eventID")
_HUB = {
    HUB_OPTION: Option(
        OptionKind.TEXT, "${NAME} of a credential to sign with as GitHub does, too"
    )
}
STANDARD = Format(
    _check_standard, _render_standard, _RECEIPT, lends_by_header=True, options=_HUB
)
CLOUDEVENTS = Format(
    _check_cloudevents,
    _render_cloudevents,
    _RECEIPT,
    lends_by_header=True,
    options={
        "mode": Option(
            OptionKind.CHOICE, "Where the attributes go", ("binary", "structured")
        ),
        "source": Option(OptionKind.TEXT, "The source; else stagegate"),
        "type_prefix": Option(
            OptionKind.TEXT, "Before the event's type, such as com.example."
        ),
        **_HUB,
    },
)
