"""What is at the source, and what is here: all that a plan looks at.

Rules:

- Text is in Unicode NFC, as this registry stores it: a source that has it in
  another form would look different for ever.
- Facts of the source that our history cannot say (when, by whom) are tags below
  ``TAG_PREFIX``. A history that was not lived here would be a lie in an audit log.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

NONE = "None"
READY = "READY"
TAG_PREFIX = "stagegate.import."
#: The address as the source has it, where ours says where the bytes lie.
SOURCE_TAG = f"{TAG_PREFIX}source"
#: The registry that a version was copied from.
FROM_TAG = f"{TAG_PREFIX}from"
PLACEHOLDER_TAG = f"{TAG_PREFIX}placeholder"
#: By which MLflow tells its prompts, and their versions, from models.
PROMPT_TAG = "mlflow.prompt.is_prompt"
#: The reason of every stage change that an import makes begins so.
REASON_PREFIX = "imported from "

_LOGGED_MODEL = re.compile(r"models:/(m-[\w-]+)", re.ASCII)
_REGISTERED = re.compile(r"models:/([^/]+)/([0-9]{1,9})")


@dataclass(frozen=True, kw_only=True)
class SourceVersion:
    """A version at the source; ``created_at`` is RFC 3339, empty when unknown."""

    number: int
    source: str
    stage: str = NONE
    status: str = READY
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    run_id: str = ""
    run_link: str = ""
    created_at: str = ""
    created_by: str = ""

    @property
    def logged_model_id(self) -> str:
        """The logged model that the source names; MLflow's answers do not say it."""
        match = _LOGGED_MODEL.fullmatch(self.source)
        return match[1] if match else ""


@dataclass(frozen=True, kw_only=True)
class SourceModel:
    """A model at the source. ``name`` is as the source spells it, to ask with."""

    name: str
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[int, SourceVersion] = field(default_factory=dict)
    created_at: str = ""
    created_by: str = ""

    @property
    def is_prompt(self) -> bool:
        """Whether it is a prompt, whose versions are texts."""
        return is_prompt(self.tags)


@dataclass(frozen=True, kw_only=True)
class TargetVersion:
    """A version here. ``is_ours``: nobody but an import has moved it."""

    number: int
    source: str
    stage: str = NONE
    status: str = READY
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    is_ours: bool = True

    @property
    def is_placeholder(self) -> bool:
        """Whether an import that broke off made it, to be deleted."""
        return PLACEHOLDER_TAG in self.tags


@dataclass(frozen=True, kw_only=True)
class TargetModel:
    """A model here. ``last_number`` is the highest ever given, deleted ones too."""

    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[int, TargetVersion] = field(default_factory=dict)
    last_number: int = 0


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The stage policy here, as far as an import needs it.

    Attributes:
        transitions: the stages that can be reached in one move, by stage.
        exclusive: stages that hold one version, and where it goes when the next
            one enters.
        deletable: versions in these stages may be deleted.
    """

    transitions: Mapping[str, tuple[str, ...]]
    exclusive: Mapping[str, str] = field(default_factory=dict)
    deletable: frozenset[str] = frozenset({NONE})


def reason_of(origin: str) -> str:
    """The reason that stage changes are recorded with."""
    return f"{REASON_PREFIX}{origin}"


def is_prompt(tags: Mapping[str, str]) -> bool:
    """Whether what has these tags is a prompt, or a version of one."""
    return tags.get(PROMPT_TAG, "").lower() == "true"


def nobodys_prompt(number: int) -> SourceVersion:
    """What takes the number of a prompt's version that is not at the source."""
    tags = {PROMPT_TAG: "true", PLACEHOLDER_TAG: "true"}
    return SourceVersion(number=number, source="prompt-template", tags=tags)


def names_registered(source: str) -> bool:
    """Whether a source names a version of whatever registry reads it.

    Of the addresses ``models:/…`` only a logged model's is no such name.
    """
    is_models = source.partition(":")[0].lower() == "models"
    return is_models and _LOGGED_MODEL.fullmatch(source) is None


def registered_version(source: str) -> tuple[str, int] | None:
    """The model and the number that such a source names, if it names a number."""
    match = _REGISTERED.fullmatch(source)
    return (match[1], int(match[2])) if match else None


def provenance(
    thing: SourceModel | SourceVersion, origin: str, *, address: str | None = None
) -> dict[str, str]:
    """The tags that say where something came from.

    Args:
        thing: what is copied.
        origin: the address of the registry it is copied from.
        address: where the artifact of a version is said to lie here.
    """
    facts = {
        "from": origin,
        "created_at": thing.created_at,
        "created_by": thing.created_by,
    }
    if isinstance(thing, SourceVersion) and address not in {None, thing.source}:
        facts["source"] = thing.source
    return {f"{TAG_PREFIX}{name}": text for name, text in facts.items() if text}
