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
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
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
from webhooks.queue.schedule import check_schedule
from webhooks.roster.specs import (
    CREDENTIAL_NAME,
    FACTS,
    MAX_TEXT_LENGTH,
    MIN_CREDENTIAL_LENGTH,
    Rule,
    SubscriptionSpec,
)
from webhooks.sending.guard import AddressGuard
from webhooks.sending.tls import Tls, make_context

MAX_CREDENTIALS = 20
URL_SECRET = "url_secret"  # noqa: S105  # The name of a credential.
_SECRET_BEHIND_HOST = re.compile(r"[a-zA-Z]+://[^/?#$]+[/?].*")

MAX_HEADERS = 20
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
_NOT_ONE_LINE = "must be one line of ASCII text"
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")


def check_spec(guard: AddressGuard, spec: SubscriptionSpec) -> SubscriptionSpec:
    """Return the specification as it is to be stored.

    Raises:
        InvalidSubscriptionError: a value breaks a rule; names the field.
    """
    for name, facts in FACTS.items():
        value = getattr(spec, name)
        if value is not None or not facts.is_nullable:
            _check_rule(name, facts.rule, value)
    if len(set(spec.signatures)) < len(spec.signatures):
        _refuse("signatures", "must name each scheme once, and one at least")
    with _refusing("schedule_seconds"):
        check_schedule(spec.schedule_seconds or (0,))
    _check_credentials(spec.credentials)
    spec = _without_secret_url(spec)
    spec = replace(spec, headers=_check_headers(spec))
    _check_format(spec)
    _check_url(guard, spec)
    _check_certificates(spec)
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
        field = f"credentials.{name}"
        _require_length(field, value, FACTS["credentials"].rule)
        if not value.isprintable():
            _refuse(field, "must be one line of text")


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


def _check_headers(spec: SubscriptionSpec) -> dict[str, str]:
    """Return the headers with lower-case names, their placeholders filled on trial."""
    if len(spec.headers) > MAX_HEADERS:
        _refuse("headers", f"must be at most {MAX_HEADERS}")
    lowered = {name.lower(): value for name, value in spec.headers.items()}
    if len(lowered) < len(spec.headers):
        _refuse("headers", "must not have a name twice")
    values = {**dict.fromkeys(LENT_NAMES, ""), **spec.credentials}
    for name, value in lowered.items():
        if not _NAME.fullmatch(name):
            _refuse("headers", f"{name!r} is not a header's name")
        if name in FORBIDDEN_NAMES or name.startswith(FORBIDDEN_PREFIXES):
            _refuse("headers", f"the header {name} cannot be set")
        _check_header(name, value, values)
    return lowered


def _check_header(name: str, value: str, values: Mapping[str, str]) -> None:
    field = f"headers.{name}"
    if value != value.strip():
        _refuse(field, _NOT_ONE_LINE)
    _require_one_line(field, value)
    _require_length(field, value, FACTS["headers"].rule)
    with _refusing(field):
        _require_names(field, names_in(value), values)
    if name in SECRET_NAMES and not PLACEHOLDER.search(value):
        _refuse(
            field,
            "must take its secret from a credential, as ${NAME}: headers are stored"
            " and shown as they are written",
        )
    _require_one_line(field, fill(value, values))


def _check_format(spec: SubscriptionSpec) -> None:
    """Read the options, render a sample, and make what the credentials are for."""
    sample = formats.check(spec.format, spec.options)
    chosen = FORMATS[spec.format]
    types = chosen.event_types
    for entry in spec.event_types:
        # A prefix or ``*`` may have others.
        if types is not None and not entry.endswith("*") and entry not in types:
            _refuse(
                "event_types", f"the format {spec.format} has no word for {entry!r}"
            )
    known = spec.credentials.keys() | LENT_NAMES
    _require_names("options", names_in_body(sample.body), known)
    hub = read_hub_signature(spec.options) or ""
    _require_names("options.hub_signature", names_in(hub), spec.credentials)
    if "authorization" not in spec.headers:
        for value in chosen.authorization(spec.options, spec.credentials).values():
            _require_one_line("credentials", value)


def _check_url(guard: AddressGuard, spec: SubscriptionSpec) -> None:
    if "${" in spec.url and not _SECRET_BEHIND_HOST.fullmatch(spec.url):
        _refuse("url", "a placeholder may stand behind the host only")
    with _refusing("url"):
        _require_names("url", names_in(spec.url), spec.credentials)
        guard.check_url(fill(spec.url, spec.credentials))


def _check_certificates(spec: SubscriptionSpec) -> None:
    ca, client, key = spec.ca_certificate, spec.client_certificate, spec.client_key
    if (client is None) != (key is None):
        _refuse(
            "client_key" if key is None else "client_certificate",
            "a client certificate and its key are given together",
        )
    if ca is not None:
        _check_certificate("ca_certificate", ca, Tls(ca_certificate=ca))
    if client is not None:
        material = Tls(client_certificate=client, client_key=key)
        _check_certificate("client_certificate", client, material)


def _check_certificate(field: str, certificate: str, material: Tls) -> None:
    if "PRIVATE KEY" in certificate:
        _refuse(field, "must not have a private key in it")
    if not certificate.isascii() or "\0" in certificate:
        _refuse(field, "must be ASCII text")
    most = FACTS[field].rule["maxLength"]
    if max(len(certificate), len(material.client_key or "")) > most:
        _refuse(field, f"must have at most {most} characters")
    # Loaded here: few receivers need it, and it holds a megabyte.
    from cryptography import x509  # noqa: PLC0415

    try:
        x509.load_pem_x509_certificates(certificate.encode())
        make_context(material)
    except (ValueError, TLSMaterialError) as error:
        fault = "must be PEM certificates that OpenSSL can use"
        if material.client_key:
            fault += ", with a key that fits and is not encrypted"
        raise InvalidSubscriptionError(field, fault) from error


def _require_names(field: str, names: Iterable[str], known: Container[str]) -> None:
    for name in sorted(names):
        if name not in known:
            _refuse(field, f"there is no credential {name!r}")


def _require_one_line(field: str, value: str) -> None:
    if not (value.isascii() and value.isprintable()):
        _refuse(field, _NOT_ONE_LINE)


def _require_length(field: str, value: str, rule: Rule) -> None:
    """Judge a value of an object that has the rule."""
    values = rule["additionalProperties"]
    least, most = values["minLength"], values["maxLength"]
    if not least <= len(value) <= most:
        _refuse(field, f"must have {least} to {most} characters")


@contextmanager
def _refusing(field: str) -> Iterator[None]:
    """Refuse the field with what a ValueError within says."""
    try:
        yield
    except ValueError as error:
        raise InvalidSubscriptionError(field, str(error)) from error


def _refuse(field: str, message: str) -> NoReturn:
    raise InvalidSubscriptionError(field, message)
