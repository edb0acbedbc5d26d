"""The form of a webhook: its fields made of the one declaration, and read again.

Rules:

- What a field is, ``webhooks.roster.specs`` says, and of a format's options
  ``webhooks.formats``; here are the words for people, where the names alone are not
  enough. A new field appears by itself.
- What is read is what the API takes, and judged by its schemas.
- Secrets are never shown: an empty field keeps what is stored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from marshmallow import ValidationError
from werkzeug.datastructures import MultiDict

from registry.api.event_types import TYPES
from registry.api.schemas.webhooks import NewWebhook, WebhookPatch
from registry.errors import InvalidInputError
from webhooks.formats import FORMATS
from webhooks.formats.contract import Option, OptionKind
from webhooks.roster.specs import (
    FACTS,
    PEM,
    Facts,
    OnPoison,
    Scheme,
    SubscriptionSpec,
)

Document = Mapping[str, Any]
Errors = Mapping[str, str]
Typed = MultiDict[str, str]

OPTION = "option."
CREDENTIAL = "credential."
REMOVED = "remove-credential"
_NEW_CREDENTIAL = ("new-credential", "new-credential-value")
_MORE_CREDENTIALS = 2
_FACTS = {facts.name: facts for facts in FACTS.values()}
_LABELS: Mapping[str, str] = {
    "url": "URL",
    "event_types": "Events",
    "model_pattern": "Models",
    "to_stages": "Stages",
    "ca_certificate": "CA certificate",
    "client_key": "Key of the client certificate",
    "on_poison": "When every attempt has failed",
    "rate_per_minute": "Requests a minute, at most",
    "schedule_seconds": "Seconds before each attempt",
}
_HELP: Mapping[str, str] = {
    "url": "The receiver's own address. A secret in it is written ${NAME}.",
    "event_types": "What ends in .* stands for all that begins alike.",
    "to_stages": "Only changes to these stages; none chosen is all of them.",
    "headers": "One in a line: Name: value. Secrets as ${NAME}.",
    "schedule_seconds": "Such as 0, 5, 60; empty for the usual schedule.",
    "rate_per_minute": "Empty for no limit.",
    "signatures": "v1 signs with a shared secret, v1a with a key whose public half"
    " the receiver gets.",
    "client_key": "As PEM, not encrypted. Empty keeps the one that is stored.",
}
_CHOICES: Mapping[str, str] = {
    OnPoison.HOLD: "Hold the model's later events until somebody decides",
    OnPoison.SKIP: "Skip this one and go on",
    OnPoison.LATEST_WINS: "Skip it, and let newer events replace older ones",
    Scheme.V1: "v1 (HMAC-SHA256)",
    Scheme.V1A: "v1a (ed25519)",
}
_GROUPS: Sequence[tuple[str, Sequence[str]]] = (
    ("Receiver", ("description", "url", "format", "options")),
    ("Secrets and headers", ("credentials", "headers")),
    ("What it is told", ("event_types", "model_pattern", "to_stages")),
)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of several values."""

    value: str
    label: str
    is_chosen: bool


@dataclass(frozen=True, kw_only=True)
class FormField:
    """A field as the template shows it.

    Attributes:
        kind: text, number, lines, select, checks or events.
        problem: what was refused.
    """

    name: str
    label: str
    kind: str
    value: str = ""
    help: str = ""
    problem: str = ""
    choices: Sequence[Choice] = ()
    is_required: bool = False
    example: str = ""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Fields that belong together; those of no group are folded."""

    title: str
    fields: Sequence[FormField]
    is_folded: bool = False


def groups(
    document: Document, stages: Sequence[str], errors: Errors, typed: Typed | None
) -> list[Group]:
    """Return the form of a document, in the order in which people think of it.

    What was typed already stands in it again.
    """
    named = {name for _, names in _GROUPS for name in names}
    rest = [name for name in _FACTS if name not in named]
    made = [
        Group(title=title, fields=_fields(names, document, stages, errors))
        for title, names in _GROUPS
    ]
    folded = _fields(rest, document, stages, errors)
    made.append(Group(title="Sending and security", fields=folded, is_folded=True))
    return made if typed is None else [_retyped(group, typed) for group in made]


def _retyped(group: Group, typed: Typed) -> Group:
    return replace(group, fields=[_as_typed(each, typed) for each in group.fields])


def _as_typed(field: FormField, typed: Typed) -> FormField:
    chosen = typed.getlist(field.name)
    return replace(
        field,
        value=typed.get(field.name, ""),
        choices=[replace(c, is_chosen=c.value in chosen) for c in field.choices],
    )


def defaults() -> Document:
    """Return a webhook of which nobody has said anything yet."""
    spec = SubscriptionSpec(url="")
    return {facts.name: getattr(spec, name) for name, facts in FACTS.items()}


def credentials_of(document: Document) -> Sequence[str]:
    """Name the credentials that are stored, and those that the format is for."""
    stored = document.get("credential_names", [])
    format_name = str(document.get("format"))
    offered = FORMATS[format_name].credentials if format_name in FORMATS else ()
    return list(dict.fromkeys([*stored, *offered]))


def new_credentials(typed: Typed) -> list[tuple[str, str]]:
    """Return the rows for further credentials, those that were typed first."""
    rows = zip(*map(typed.getlist, _NEW_CREDENTIAL), strict=False)
    filled = [row for row in rows if any(row)]
    return [*filled, *[("", "")] * max(1, _MORE_CREDENTIALS - len(filled))]


def _fields(
    names: Sequence[str], document: Document, stages: Sequence[str], errors: Errors
) -> list[FormField]:
    fields = []
    for name in names:
        if name == "options":
            fields += _option_fields(document, errors)
        elif name != "credentials":
            fields.append(_field(name, document.get(name), stages, errors))
    known = FORMATS.get(str(document.get("format")))
    example = known.example if known else ""
    return [replace(f, example=example) if f.is_required else f for f in fields]


def _field(
    name: str,
    value: Any,  # noqa: ANN401  # of any field
    stages: Sequence[str],
    errors: Errors,
) -> FormField:
    facts = _FACTS[name]
    kind, choices = _kind(name, facts, value, stages)
    return FormField(
        name=name,
        label=_LABELS.get(name, name.replace("_", " ").capitalize()),
        kind=kind,
        value=_text(value),
        help=_HELP.get(name, (facts.help or "").partition("  [")[0]),
        problem=errors.get(name, ""),
        choices=choices,
        is_required=name == "url",
    )


def _kind(
    name: str,
    facts: Facts,
    value: Any,  # noqa: ANN401  # as above
    stages: Sequence[str],
) -> tuple[str, Sequence[Choice]]:
    match facts.rule:
        case {"enum": choices}:
            return "select", _choices(choices, [value])
        case {"items": {"enum": choices}}:
            return "checks", _choices(choices, value or ())
        case {"type": "array", "items": {"type": "string"}}:
            known = _event_filters() if name == "event_types" else stages
            others = [each for each in value or () if each not in known]
            kind = "events" if name == "event_types" else "checks"
            return kind, _choices([*known, *others], value or ())
        case {"type": "integer"}:
            return "number", ()
        case {"type": "object"} | {"contentMediaType": _}:
            return "lines", ()
    return "text", ()


def _choices(values: Sequence[str], chosen: Sequence[str]) -> Sequence[Choice]:
    return [
        Choice(value=each, label=_CHOICES.get(each, each), is_chosen=each in chosen)
        for each in map(str, values)
    ]


def _event_filters() -> list[str]:
    """Return all that may be asked for, the wider first: ``*``, ``a.*``, ``a.b``."""
    prefixes = dict.fromkeys(name.partition(".")[0] for name in sorted(TYPES))
    filters = ["*"]
    for prefix in prefixes:
        filters.append(f"{prefix}.*")
        filters += [name for name in sorted(TYPES) if name.startswith(f"{prefix}.")]
    return filters


def _text(value: Any) -> str:  # noqa: ANN401  # as above
    if isinstance(value, Mapping):
        return "\n".join(f"{name}: {each}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _option_fields(document: Document, errors: Errors) -> list[FormField]:
    known = FORMATS.get(str(document.get("format")))
    values = document.get("options") or {}
    return [
        _option_field(name, option, values.get(name), errors)
        for name, option in (known.options if known else {}).items()
    ]


def _option_field(name: str, option: Option, value: Any, errors: Errors) -> FormField:  # noqa: ANN401  # as above
    kinds = {OptionKind.SELECTION: "lines", OptionKind.CHOICES: "checks"}
    choices: Sequence[Choice] = ()
    if option.kind == OptionKind.CHOICES:
        choices = _choices(option.choices, value or ())
    elif option.kind == OptionKind.CHOICE:
        choices = _choices(option.choices, [value or option.choices[0]])
    elif option.kind == OptionKind.FLAG:
        choices = _choices(("", "true", "false"), [_option_text(value)])
    told = option.told
    if option.kind == OptionKind.SELECTION:
        told += ". One in a line: name: data.model, or name: =a text."
    return FormField(
        name=OPTION + name,
        label=name.replace("_", " ").capitalize(),
        kind=kinds.get(option.kind, "select" if choices else "text"),
        value=_option_text(value),
        help=told,
        problem=errors.get(f"options.{name}", ""),
        choices=choices,
    )


def _option_text(value: Any) -> str:  # noqa: ANN401  # as above
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        constants = (
            f"={each['value']}" if isinstance(each, Mapping) else each
            for each in value.values()
        )
        return "\n".join(map(": ".join, zip(value, constants, strict=True)))
    return _text(value)


def members_of(typed: Typed) -> dict[str, Any]:
    """Return what was typed as members of a request, as far as it can be read.

    Raises:
        InvalidInputError: when a line or a number is none, naming the field.
    """
    members: dict[str, Any] = {}
    for name, facts in _FACTS.items():
        if name == "options":
            members[name] = _options_in(typed)
        elif name == "credentials":
            members[name] = _credentials_in(typed)
        elif facts.rule.get("contentMediaType") != PEM or typed.get(name, "").strip():
            members[name] = _member(name, facts, typed)
        elif name != "client_key":
            members[name] = None
    return members


def checked(members: Document, *, is_new: bool) -> dict[str, Any]:
    """Return the members as the API would have read them.

    Raises:
        InvalidInputError: when it refuses them, naming the field.
    """
    schema = NewWebhook() if is_new else WebhookPatch()
    try:
        loaded: dict[str, Any] = schema.load(members)
    except ValidationError as error:
        field, message = _first_of(error.messages)
        raise InvalidInputError(message, field=field) from error
    return loaded


def _first_of(messages: Any) -> tuple[str, str]:  # noqa: ANN401  # marshmallow's
    path = []
    while isinstance(messages, Mapping):
        name, messages = next(iter(messages.items()))
        if name not in {"key", "value"}:
            path.append(str(name))
    return ".".join(path), str(messages[0] if messages else "is not valid")


def _member(name: str, facts: Facts, typed: Typed) -> Any:  # noqa: ANN401  # as above
    text = typed.get(name, "").strip().replace("\r\n", "\n")
    match facts.rule:
        case {"items": {"type": "integer"}}:
            return [_whole(name, each) for each in text.split(",")] if text else None
        case {"type": "array"}:
            return typed.getlist(name) or (None if facts.is_nullable else [])
        case {"type": "integer"}:
            return _whole(name, text) if text else None
        case {"type": "object"}:
            return _pairs(name, text)
    return text or (None if facts.is_nullable else "")


def _whole(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise InvalidInputError("must be a whole number", field=name) from error


def _pairs(name: str, text: str) -> dict[str, str]:
    pairs = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        key, colon, value = line.partition(":")
        if not (key.strip() and colon):
            raise InvalidInputError(f"{line!r} is not Name: value", field=name)
        pairs[key.strip()] = value.strip()
    return pairs


def _options_in(typed: Typed) -> dict[str, Any]:
    known = FORMATS.get(typed.get("format", ""))
    found = {
        name: _option_in(name, option, typed)
        for name, option in (known.options if known else {}).items()
    }
    return {name: value for name, value in found.items() if value not in ("", {}, [])}


def _option_in(name: str, option: Option, typed: Typed) -> Any:  # noqa: ANN401  # as above
    text = typed.get(OPTION + name, "").strip().replace("\r\n", "\n")
    match option.kind:
        case OptionKind.CHOICES:
            return typed.getlist(OPTION + name)
        case OptionKind.FLAG if text:
            return text == "true"
        case OptionKind.CHOICE if text == option.choices[0]:
            return ""  # by default
        case OptionKind.SELECTION:
            return {
                key: {"value": value[1:]} if value.startswith("=") else value
                for key, value in _pairs(f"options.{name}", text).items()
            }
    return text


def _credentials_in(typed: Typed) -> dict[str, str | None]:
    """Return those that are named with a value, and None for those to be removed."""
    found: dict[str, str | None] = {
        name.removeprefix(CREDENTIAL): value
        for name, value in typed.items()
        if name.startswith(CREDENTIAL) and value
    }
    rows = zip(*map(typed.getlist, _NEW_CREDENTIAL), strict=False)
    found |= {name.strip(): value for name, value in rows if name.strip()}
    return found | dict.fromkeys(typed.getlist(REMOVED))
