"""The rules of prompts."""

import pytest

from registry.domain import prompts
from registry.errors import InvalidInputError

TAGS = {
    "mlflow.prompt.is_prompt": "true",
    "mlflow.prompt.text": "Hello {{name}}",
    "_mlflow_prompt_type": "chat",
    "_mlflow_prompt_response_format": "{}",
    "team": "care",
}
PLAIN = {"team": "care"}


def test_a_prompt_is_what_is_tagged_true() -> None:
    for value in ("true", "True", "TRUE"):
        assert prompts.is_prompt({"mlflow.prompt.is_prompt": value})
    for other in ("false", "", None, "yes", "1"):
        assert not prompts.is_prompt({"mlflow.prompt.is_prompt": other})
    assert not prompts.is_prompt(PLAIN)


def test_a_source_is_one_of_mlflows_words() -> None:
    prompts.check_source("dummy-source")
    prompts.check_source("prompt-template")

    for source in ("", "s3://b/x", "Dummy-Source", "x" * 5000):
        with pytest.raises(InvalidInputError, match="Invalid prompt source") as raised:
            prompts.check_source(source)
        assert len(raised.value.message) < 400


def test_a_version_is_of_the_kind_of_its_model() -> None:
    prompts.check_new_version("m", of_prompt=True, tags=TAGS)
    prompts.check_new_version("m", of_prompt=False, tags=PLAIN)

    with pytest.raises(InvalidInputError, match="'m' is a prompt"):
        prompts.check_new_version("m", of_prompt=True, tags=PLAIN)
    with pytest.raises(InvalidInputError, match="'m' is a model"):
        prompts.check_new_version("m", of_prompt=False, tags=TAGS)


def test_what_was_registered_stays_and_all_else_may_change() -> None:
    prompts.check_version_tags(TAGS, TAGS)
    prompts.check_version_tags(TAGS, {"team": None, "new": "x"})
    prompts.check_version_tags(PLAIN, {"mlflow.prompt.text": None})

    for key in TAGS.keys() - {"team"}:
        for value in ("other", None):
            with pytest.raises(InvalidInputError, match=key):
                prompts.check_version_tags(TAGS, {key: value})


def test_content_is_the_text_and_the_tags_of_its_owner() -> None:
    rest = {"_mlflow_prompt_response_format": "{}", "team": "care"}
    assert prompts.content(TAGS) == {
        "prompt_type": "chat",
        "template": "Hello {{name}}",
        "tags": rest,
    }
    assert prompts.content({}) == {"prompt_type": "text", "template": None, "tags": {}}
    assert prompts.own_tags(TAGS) == rest


@pytest.mark.parametrize(
    ("of_model", "of_prompt"),
    [
        ("registered_model.created", "prompt.created"),
        ("registered_model.renamed", "prompt.renamed"),
        ("model_version.registered", "prompt_version.created"),
        ("model_version.tag_set", "prompt_version.tag_set"),
        ("deployment.updated", "deployment.updated"),
    ],
)
def test_events_of_prompts_are_called_after_them(of_model: str, of_prompt: str) -> None:
    assert prompts.event_type(of_model) == of_prompt
