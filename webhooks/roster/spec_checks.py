"""Which choices of a subscription's owner are refused.

Rules:

- ``check_spec`` gives the specification as it is stored; a refusal names the field.
- Everything that can be known before an event happens is judged here: options are
  read, a sample is rendered, placeholders are filled on trial, certificates are
  loaded. Messages never quote a credential, or anything of a key.
- The host of a URL is judged without asking the network; what it resolves to is
  judged at every send.
- Whoever knows the URL of a chat's webhook may post there: what follows its host
  becomes the credential ``url_secret``.
- Names of headers are lower case from here on; what HTTP, the sender or a format sets
  cannot be set. A header that carries a secret by its name must have a placeholder in
  its value, because values are stored and shown as they were written.
- A certificate is shown and stored in clear, so a text with a private key in it is
  refused there. What is saved was loaded once by ``cryptography`` and once by OpenSSL,
  which also knows whether the key fits the certificate.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NoReturn

from webhooks import formats
from webhooks.errors import InvalidSubscriptionError, TLSMaterialError
from webhooks.formats import FORMATS
from webhooks.formats.standard import read_hub_signature
from webhooks.formats.writing import (
    LENT_NAMES,
    PLACEHOLDER,
    fill,
    names_in,
    names_in_body,
)
from webhooks.retry import check_schedule
from webhooks.roster.specs import (
    CREDENTIAL_NAME,
    FACTS,
    MAX_CREDENTIAL_LENGTH,
    MAX_HEADER_LENGTH,
    MAX_PEM_LENGTH,
    MAX_TEXT_LENGTH,
    MIN_CREDENTIAL_LENGTH,
    Rule,
    SubscriptionSpec,
)
from webhooks.sending.address_guard import AddressGuard
from webhooks.sending.tls import Tls, make_context

MAX_CREDENTIALS = 20
_SECRET_BEHIND_HOST = re.compile(r"[a-zA-Z]+://[^/?#$]+[/?].*")
URL_SECRET = "url_secret"  # noqa: S105  # The name of a credential.


MAX_HEADERS = 20
MAX_NAME_LENGTH = 100
FORBIDDEN_NAMES = frozenset(
    {
        *("accept-encoding", "connection", "content-encoding", "content-length"),
        *("content-type", "expect", "host", "keep-alive", "te", "trailer"),
        *("transfer-encoding", "upgrade", "user-agent", "x-hub-signature-256"),
        *("x-databricks-signature", "x-mlflow-delivery-id", "x-mlflow-signature"),
        "x-mlflow-timestamp",
    }
)
FORBIDDEN_PREFIXES = ("webhook-", "ce-", "proxy-")
SECRET_NAMES = frozenset(
    {
        *("api-key", "authorization", "cookie", "private-token", "token"),
        *("x-api-key", "x-auth-token", "x-gitlab-token"),
    }
)
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def check_spec(guard: AddressGuard, spec: SubscriptionSpec) -> SubscriptionSpec:
    """Return the specification as it is to be stored.

    Raises:
        InvalidSubscriptionError: a value breaks a rule; names the field.
    """
    for name, facts in FACTS.items():
        value = getattr(spec, name)
        if value is not None or not facts.is_nullable:
            _check_rule(name, facts.rule, value)
    _check_lists(spec)
    _check_credentials(spec.credentials)
    spec = replace(spec, headers=_check_headers(spec.headers))
    spec = _without_secret_url(spec)
    _check_request(spec)
    _check_url(guard, spec)
    check_certificates(spec.ca_certificate, spec.client_certificate, spec.client_key)
    return spec


def _check_rule(name: str, rule: Rule, value: Any) -> None:  # noqa: ANN401  # of the field
    match rule:
        case {"enum": choices} if value not in choices:
            _refuse(name, f"must be one of {', '.join(sorted(choices))}")
        case {"minimum": least, "maximum": most} if not least <= value <= most:
            _refuse(name, f"must be {least} to {most}")
        case {"items": items, "maxItems": most}:
            if not 0 < len(value) <= most:
                _refuse(name, f"must have 1 to {most} entries")
            for entry in value:
                _check_rule(name, items, entry)
        # What is written in a form of its own is judged below.
        case {"type": "string"} if not rule.keys() & {"format", "contentMediaType"}:
            _check_text(name, rule, value)


def _check_text(name: str, rule: Rule, value: str) -> None:
    if len(value) > MAX_TEXT_LENGTH or "\0" in value:
        _refuse(name, f"must have at most {MAX_TEXT_LENGTH} characters and no NUL")
    if "pattern" in rule and not re.fullmatch(rule["pattern"], value):
        _refuse(name, rule["error"])


def _check_lists(spec: SubscriptionSpec) -> None:
    if len(set(spec.signatures)) < len(spec.signatures):
        _refuse("signatures", "must name each scheme once, and one at least")
    try:
        check_schedule(spec.schedule_seconds or (0,))
    except ValueError as error:
        raise InvalidSubscriptionError("schedule_seconds", str(error)) from error


def _check_credentials(credentials: Mapping[str, str]) -> None:
    if len(credentials) > MAX_CREDENTIALS:
        _refuse("credentials", f"must be at most {MAX_CREDENTIALS}")
    for name, value in credentials.items():
        if not CREDENTIAL_NAME.fullmatch(name) or name in LENT_NAMES:
            _refuse(
                "credentials",
                f"{name!r} is not a name for a credential: it has letters, digits and"
                " underscores, and is not taken",
            )
        # A shorter one could not be kept out of what a receiver answers.
        if not MIN_CREDENTIAL_LENGTH <= len(value) <= MAX_CREDENTIAL_LENGTH:
            _refuse(
                f"credentials.{name}",
                f"must have {MIN_CREDENTIAL_LENGTH} to {MAX_CREDENTIAL_LENGTH}"
                " characters",
            )
        if not value.isprintable():
            _refuse(f"credentials.{name}", "must be one line of text")


def _without_secret_url(spec: SubscriptionSpec) -> SubscriptionSpec:
    """Move what follows the host of a secret URL into a credential."""
    if not FORMATS[spec.format].has_secret_url or "${" in spec.url:
        return spec
    scheme, separator, rest = spec.url.partition("://")
    host, slash, secret = rest.partition("/")
    if len(secret) < MIN_CREDENTIAL_LENGTH:
        return spec
    return replace(
        spec,
        url=f"{scheme}{separator}{host}{slash}${{{URL_SECRET}}}",
        credentials={**spec.credentials, URL_SECRET: secret},
    )


def _check_request(spec: SubscriptionSpec) -> None:
    """Read the options, render a sample, and fill its placeholders on trial."""
    sample = formats.check(spec.format, spec.options)
    _require_words(spec)
    known = spec.credentials.keys() | LENT_NAMES
    hub = read_hub_signature(spec.options)
    _require_names("options", names_in_body(sample.body), known)
    _require_names("options.hub_signature", names_in(hub or ""), spec.credentials)
    for name, value in spec.headers.items():
        _require_names(f"headers.{name}", names_in(value), known)
        _require_one_line(f"headers.{name}", fill(value, _trial_values(spec)))
    if "authorization" not in spec.headers:
        made = FORMATS[spec.format].authorization(spec.options, spec.credentials)
        for value in made.values():
            _require_one_line("credentials", value)


def _require_words(spec: SubscriptionSpec) -> None:
    """Refuse a type that could never be sent; a prefix or ``*`` may have others."""
    types = FORMATS[spec.format].event_types
    for entry in spec.event_types:
        if types is not None and not entry.endswith("*") and entry not in types:
            _refuse(
                "event_types", f"the format {spec.format} has no word for {entry!r}"
            )


def _check_url(guard: AddressGuard, spec: SubscriptionSpec) -> None:
    if "${" in spec.url and not _SECRET_BEHIND_HOST.fullmatch(spec.url):
        _refuse("url", "a placeholder may stand behind the host only")
    try:
        _require_names("url", names_in(spec.url), spec.credentials)
        guard.check_url(fill(spec.url, spec.credentials))
    except ValueError as error:
        raise InvalidSubscriptionError("url", str(error)) from error


def _trial_values(spec: SubscriptionSpec) -> dict[str, str]:
    return {**dict.fromkeys(LENT_NAMES, ""), **spec.credentials}


def _require_names(
    field_name: str, names: frozenset[str], known: Mapping[str, str] | set[str]
) -> None:
    for name in sorted(names):
        if name not in known:
            _refuse(field_name, f"there is no credential {name!r}")


def _require_one_line(field_name: str, value: str) -> None:
    if not (value.isascii() and value.isprintable()):
        _refuse(field_name, "must be one line of ASCII text")


def _refuse(name: str, message: str) -> NoReturn:
    raise InvalidSubscriptionError(name, message)


def _check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers with lower-case names.

    Raises:
        InvalidSubscriptionError: a name or a value is refused.
    """
    if len(headers) > MAX_HEADERS:
        raise InvalidSubscriptionError("headers", f"must be at most {MAX_HEADERS}")
    lowered = {name.lower(): value for name, value in headers.items()}
    if len(lowered) < len(headers):
        raise InvalidSubscriptionError("headers", "must not have a name twice")
    for name, value in lowered.items():
        _check_name(name)
        _check_value(name, value)
    return lowered


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME_LENGTH:
        raise InvalidSubscriptionError("headers", f"{name!r} is not a header's name")
    if name in FORBIDDEN_NAMES or name.startswith(FORBIDDEN_PREFIXES):
        raise InvalidSubscriptionError("headers", f"the header {name} cannot be set")


def _check_value(name: str, value: str) -> None:
    field = f"headers.{name}"
    if not (value.isascii() and value.isprintable() and value == value.strip()):
        raise InvalidSubscriptionError(field, "must be one line of ASCII text")
    if not 0 < len(value) <= MAX_HEADER_LENGTH:
        raise InvalidSubscriptionError(
            field, f"must have 1 to {MAX_HEADER_LENGTH} characters"
        )
    try:
        names_in(value)
    except ValueError as error:
        raise InvalidSubscriptionError(field, str(error)) from error
    if name in SECRET_NAMES and not PLACEHOLDER.search(value):
        raise InvalidSubscriptionError(
            field,
            "must take its secret from a credential, as ${NAME}: headers are stored"
            " and shown as they are written",
        )


def check_certificates(ca: str | None, client: str | None, key: str | None) -> None:
    """Refuse what cannot be used, each part as PEM text.

    Raises:
        InvalidSubscriptionError: names the field at fault.
    """
    if (client is None) != (key is None):
        missing = "client_key" if key is None else "client_certificate"
        raise InvalidSubscriptionError(
            missing, "a client certificate and its key are given together"
        )
    if ca is not None:
        _check("ca_certificate", ca, Tls(ca_certificate=ca))
    if client is not None:
        material = Tls(client_certificate=client, client_key=key)
        _check("client_certificate", client, material)


def _check(field: str, certificate: str, material: Tls) -> None:
    if "PRIVATE KEY" in certificate:
        raise InvalidSubscriptionError(field, "must not have a private key in it")
    if not certificate.isascii() or "\0" in certificate:
        raise InvalidSubscriptionError(field, "must be ASCII text")
    if len(certificate) > MAX_PEM_LENGTH or len(material.client_key or "") > (
        MAX_PEM_LENGTH
    ):
        raise InvalidSubscriptionError(
            field, f"must have at most {MAX_PEM_LENGTH} characters"
        )
    # Loaded here: few receivers need it, and it holds a megabyte.
    from cryptography import x509  # noqa: PLC0415

    try:
        x509.load_pem_x509_certificates(certificate.encode())
        make_context(material)
    except (ValueError, TLSMaterialError) as error:
        raise InvalidSubscriptionError(
            field,
            "must be PEM certificates that OpenSSL can use, with a key that fits and"
            " is not encrypted"
            if material.client_key
            else "must be PEM certificates that OpenSSL can use",
        ) from error
