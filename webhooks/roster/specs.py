"""What the owner of a subscription chooses, each field said once.

Rules:

- A field says its default, and in its ``Facts`` all else: its rule, as JSON Schema;
  what the application calls it; its option on the command line; who may see it.
  Requests, documents, OpenAPI and the command line are made of that.
- Only its column (``tables.Subscription``) and its type in the client are written
  besides; a test holds them against this page. ``webhooks/README.md`` has an example.
- What concerns several fields, or takes more than a rule, ``spec_checks`` refuses.
- The command line reads this page too: it imports nothing that is slow to load.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

from webhooks.events import EVENT_TYPE_FILTER
from webhooks.queue.schedule import MAX_SCHEDULE, MAX_SCHEDULE_LENGTH

MAX_TEXT_LENGTH = 1000
MAX_LIST_LENGTH = 50
#: A shorter one could not be kept out of what a receiver answers.
MIN_CREDENTIAL_LENGTH = 4
CREDENTIAL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
PEM = "application/x-pem-file"

Rule = Mapping[str, Any]


class Scheme(StrEnum):
    """How a message is signed; the value stands before each signature."""

    V1 = "v1"  #: HMAC-SHA256, one secret on both sides
    V1A = "v1a"  #: ed25519, the receiver cannot sign


class OnPoison(StrEnum):
    """What becomes of a delivery whose attempts are used up."""

    HOLD = "hold"  #: it is blocked and keeps its key closed
    SKIP = "skip"  #: it is dead and its key goes on
    LATEST_WINS = "latest_wins"  #: as skip; newer ones supersede older ones


class SeenBy(StrEnum):
    """Who may see a field, in answers and in the audit log."""

    ALL = "all"
    ADMINS = "admins"  #: its values may hold secrets, so an entry leaves them out
    NOBODY = "nobody"  #: it is sealed, in the column ``sealed_NAME``


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a field besides its default.

    Attributes:
        rule: what a value must be. Beside a ``pattern``, ``error`` says what it asks
            for; of an object that ``merges``, changes name single members.
        name: what the application calls it, where that is not the field's own name.
        told: what the description of the API says of it.
        option: its option on the command line, with what stands for its value.
    """

    rule: Rule
    is_nullable: bool
    seen_by: SeenBy = SeenBy.ALL
    name: str = ""
    told: str | None = None
    option: str | None = None
    help: str | None = None


def _text(most: int = MAX_TEXT_LENGTH, *, least: int = 0) -> Rule:
    return {"type": "string", "minLength": least, "maxLength": most}


def _list(items: Rule, most: int = MAX_LIST_LENGTH) -> Rule:
    return {"type": "array", "items": items, "minItems": 1, "maxItems": most}


def _whole_number(least: int, most: int) -> Rule:
    return {"type": "integer", "minimum": least, "maximum": most}


def _choice(names: Iterable[str]) -> Rule:
    return {"type": "string", "enum": tuple(map(str, names))}


_NAMES = {"type": "object", "propertyNames": _text(100, least=1)}
_PEM = {**_text(64 * 1024, least=1), "contentMediaType": PEM}
_FORMATS = (
    *("standard", "cloudevents", "github", "gitlab", "jenkins", "slack", "teams"),
    *("mlflow", "databricks"),
)
_URL = {
    "type": "string",
    "format": "uri",
    "maxLength": 2000,
    "pattern": r"""^[Hh][Tt][Tt][Pp][Ss]?://[!"$-\[\]-~]+$""",
    "error": "must be a plain ASCII http or https URL",
}
_EVENT_TYPE = {
    "type": "string",
    "maxLength": MAX_TEXT_LENGTH,
    "pattern": f"^({EVENT_TYPE_FILTER.pattern})$",
    "error": "must be an event type, 'prefix.*' or '*'",
}
_CREDENTIALS = {
    "type": "object",
    "merges": True,
    "propertyNames": {"type": "string", "pattern": f"^{CREDENTIAL_NAME.pattern}$"},
    "additionalProperties": {
        **_text(4096, least=MIN_CREDENTIAL_LENGTH),
        "format": "password",
    },
}


def _field(rule: Rule, default: Any = MISSING, **about: Any) -> Any:  # noqa: ANN401  # of any kind
    facts = Facts(rule=rule, is_nullable=default is None, **about)
    return field(
        **{"default_factory" if default is dict else "default": default},
        repr=facts.seen_by != SeenBy.NOBODY,
        metadata={"facts": facts},
    )


@dataclass(frozen=True)
class SubscriptionSpec:
    """What the owner of a subscription chooses."""

    url: str = _field(_URL, seen_by=SeenBy.ADMINS)
    event_types: Sequence[str] = _field(
        _list(_EVENT_TYPE),
        ("*",),
        option="--event TYPE",
        help="An event type, such as model_version.stage_changed; repeatable."
        "  [default on create: every type]",
    )
    subject_pattern: str | None = _field(
        _text(256, least=1),
        None,
        name="model_pattern",
        option="--model-pattern PATTERN",
        help="Only models whose name, or former name, matches, such as 'fraud-*'.",
    )
    targets: Sequence[str] | None = _field(
        _list(_text(200, least=1)),
        None,
        name="to_stages",
        option="--to-stage STAGE",
        help="Only changes to this stage; repeatable.",
    )
    description: str = _field(
        _text(), "", option="--description", help="What the receiver does."
    )
    format: str = _field(
        _choice(_FORMATS),
        "standard",
        option="--format",
        help="The format of the requests.  [default on create: standard]",
    )
    options: Mapping[str, Any] = _field(
        _NAMES,
        dict,
        seen_by=SeenBy.ADMINS,
        told="What the format needs to know; values name parts of the event by path"
        " (data.model) or are constants ({value: text})",
        option="--option K=V",
        help="What the format needs: ref=main, dispatch=workflow,"
        " inputs.model=data.model (a part of the event),"
        ' inputs.env=\'{"value":"prod"}\' (a constant); repeatable, and all'
        " replaced by an update.",
    )
    headers: Mapping[str, str] = _field(
        {**_NAMES, "additionalProperties": _text(4096, least=1)},
        dict,
        seen_by=SeenBy.ADMINS,
        told="Sent besides; secrets as ${NAME}",
        option="--header K=V",
        help="A header of each request, its secrets as ${NAME}; repeatable, and all"
        " replaced by an update.",
    )
    credentials: Mapping[str, str] = _field(
        _CREDENTIALS,
        dict,
        seen_by=SeenBy.NOBODY,
        told="By name; never shown. Null removes one.",
        option="--credential NAME[=V]",
        help="What ${NAME} stands for: NAME=@FILE from a file, NAME alone from the"
        " environment variable, NAME= removes it; repeatable.",
    )
    signatures: Sequence[str] = _field(
        _list(_choice(Scheme), len(Scheme)),
        (Scheme.V1,),
        option="--signature",
        help="v1 signs with the secret, v1a with a key whose public half the"
        " receiver gets; repeatable.",
    )
    ca_certificate: str | None = _field(
        _PEM,
        None,
        option="--ca-certificate",
        help="What to trust instead of the public authorities, as PEM.",
    )
    client_certificate: str | None = _field(
        _PEM,
        None,
        option="--client-certificate",
        help="Our certificate for mutual TLS, as PEM.",
    )
    client_key: str | None = _field(
        _PEM,
        None,
        seen_by=SeenBy.NOBODY,
        option="--client-key",
        help="Its key, as PEM, not encrypted.",
    )
    on_poison: str = _field(
        _choice(OnPoison),
        OnPoison.HOLD,
        option="--on-poison",
        help="What follows when every attempt has failed: hold the model's later"
        " events, skip this one, or skip it and let newer ones replace older ones.",
    )
    rate_per_minute: int | None = _field(
        _whole_number(1, 60_000),
        None,
        told="The most requests in a minute; null for no limit",
        option="--rate N",
        help="Send at most N requests a minute; 0 takes the limit away.",
    )
    schedule_seconds: Sequence[int] | None = _field(
        _list(_whole_number(0, int(MAX_SCHEDULE.total_seconds())), MAX_SCHEDULE_LENGTH),
        None,
        option="--schedule S,S,…",
        help="The seconds before each attempt, instead of the default schedule.",
    )


#: By the field's own name, and with the application's.
FACTS: Mapping[str, Facts] = {
    spec_field.name: replace(facts, name=facts.name or spec_field.name)
    for spec_field in fields(SubscriptionSpec)
    for facts in [spec_field.metadata["facts"]]
}
#: What is stored as it is, and shown.
SHOWN = tuple(name for name in FACTS if FACTS[name].seen_by != SeenBy.NOBODY)
