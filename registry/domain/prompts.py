"""MLflow's prompts: models whose versions hold a text in place of an artifact.

Rules (as of MLflow 3.17):

- What is tagged ``mlflow.prompt.is_prompt`` as true when it is registered is a prompt.
  Once it has had a version it stays what it is.
- A prompt has versions that are tagged so, a model has none.
- A version names no place: its source is one of the words that MLflow's clients send.
- The text of a version, its type and its response format stay as registered. Other
  tags may change, the configuration of the language model among them.

What breaks a rule is refused by an ``InvalidInputError`` that names the field.
"""

from collections.abc import Mapping
from typing import TypedDict

from registry.domain.names import Tags
from registry.errors import InvalidInputError

PROMPT_TAG = "mlflow.prompt.is_prompt"
TEXT_TAG = "mlflow.prompt.text"
TYPE_TAG = "_mlflow_prompt_type"
_RESPONSE_FORMAT_TAG = "_mlflow_prompt_response_format"
_FIXED = frozenset({PROMPT_TAG, TEXT_TAG, TYPE_TAG, _RESPONSE_FORMAT_TAG})

#: What MLflow's stores send as source, and its clients besides.
SOURCE = "prompt-template"
_SOURCES = frozenset({SOURCE, "dummy-source"})

_NOUNS = {"registered_model": "prompt", "model_version": "prompt_version"}


class Content(TypedDict):
    """What a prompt's version says, and its tags less those that say it."""

    prompt_type: str
    template: str | None
    tags: Mapping[str, str]


def is_prompt(tags: Tags) -> bool:
    """Whether these tags make a prompt of what has them."""
    return (tags.get(PROMPT_TAG) or "").lower() == "true"


def check_source(source: str) -> None:
    """Refuse a source that a prompt cannot have."""
    if source not in _SOURCES:
        raise InvalidInputError(
            f"Invalid prompt source: {source[:200]!r}. A prompt has no artifact; "
            f"expected {' or '.join(sorted(_SOURCES))}",
            field="source",
        )


def check_new_version(name: str, *, of_prompt: bool, tags: Tags) -> None:
    """Hold a version to be against what it would be a version of."""
    if is_prompt(tags) == of_prompt:
        return
    raise InvalidInputError(
        f"{name!r} is a prompt, and takes no version of a model; "
        "register the model under another name"
        if of_prompt
        else f"{name!r} is a model, and takes no version of a prompt; "
        "register the prompt under another name",
        field="tags",
    )


def check_version_tags(present: Mapping[str, str], changes: Tags) -> None:
    """Hold changes of the tags of a prompt's version against what stays."""
    for key, value in changes.items():
        if key in _FIXED and value != present.get(key):
            raise InvalidInputError(
                f"tag {key!r} stays as it was registered: to change a prompt, "
                "register its next version",
                field="tags",
            )


def content(tags: Mapping[str, str]) -> Content:
    """Return the content that a version's tags make."""
    return {
        "prompt_type": tags.get(TYPE_TAG, "text"),
        "template": tags.get(TEXT_TAG),
        "tags": own_tags(tags),
    }


def own_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that are not MLflow's way to say what a prompt is."""
    hidden = {PROMPT_TAG, TEXT_TAG, TYPE_TAG}
    return {key: value for key, value in tags.items() if key not in hidden}


def event_type(model_event_type: str) -> str:
    """Return what an event of a model is called when it is of a prompt."""
    noun, _, verb = model_event_type.partition(".")
    if noun not in _NOUNS:
        return model_event_type
    # Nothing of a prompt is still to come, so its versions are there at once.
    return f"{_NOUNS[noun]}.{'created' if verb == 'registered' else verb}"
