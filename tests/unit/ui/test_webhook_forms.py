"""The form of a webhook: every field, and what was chosen again when it is sent."""

from collections.abc import Mapping
from typing import Any

import pytest
from werkzeug.datastructures import MultiDict

from registry.errors import InvalidInputError
from registry.ui.webhook_forms import (
    FormField,
    checked,
    credentials_of,
    defaults,
    groups,
    members_of,
)
from webhooks.formats import FORMATS
from webhooks.roster.specs import FACTS

STAGES = ("None", "Staging", "Production", "Archived")
#: Options of each format, every one that it knows.
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "standard": {"hub_signature": "${HUB}"},
    "cloudevents": {
        "mode": "structured",
        "source": "stagegate/eu",
        "type_prefix": "com.example.",
        "hub_signature": "${HUB}",
    },
    "github": {
        "dispatch": "workflow",
        "ref": "main",
        "inputs": {"model": "data.model", "env": {"value": "prod: eu"}},
        "return_run_details": False,
    },
    "gitlab": {"ref": "main", "variables": {"MODEL": "data.model"}},
    "jenkins": {"trigger": "build", "user": "ci", "parameters": {"A": "id"}},
    "slack": {"text": "{data.model}", "facts": {"By": "data.actor.name"}, "link": "id"},
    "teams": {},
    "mlflow": {"name": "ours"},
    "databricks": {"events": ["MODEL_VERSION_CREATED"], "test_mode": True},
}


def fields(document: Mapping[str, Any]) -> dict[str, FormField]:
    return {f.name: f for g in groups(document, STAGES, {}, None) for f in g.fields}


def sent(document: Mapping[str, Any]) -> MultiDict[str, str]:
    """The form as a browser sends it, nothing in it changed."""
    typed: MultiDict[str, str] = MultiDict()
    for field in fields(document).values():
        if field.kind in {"checks", "events"}:
            for choice in field.choices:
                if choice.is_chosen:
                    typed.add(field.name, choice.value)
        elif field.kind == "select":
            chosen = [each.value for each in field.choices if each.is_chosen]
            typed.add(field.name, (chosen or [field.choices[0].value])[0])
        else:
            typed.add(field.name, field.value.replace("\n", "\r\n"))
    return typed


def test_every_field_but_credentials_and_options_is_in_the_form() -> None:
    shown = {name for name in fields(defaults()) if not name.startswith("option.")}

    assert shown == {f.name for f in FACTS.values()} - {"credentials", "options"}


@pytest.mark.parametrize("name", FORMATS)
def test_every_option_of_a_format_is_in_its_form(name: str) -> None:
    shown = fields({**defaults(), "format": name})

    offered = {each for each in shown if each.startswith("option.")}
    assert offered == {f"option.{each}" for each in FORMATS[name].options}
    assert all(shown[each].help for each in offered)


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_stored_is_the_same_after_its_form_was_sent(name: str) -> None:
    document = {
        **defaults(),
        "url": "https://ci.example.com/hook",
        "description": "deploys",
        "format": name,
        "options": OPTIONS[name],
        "event_types": ["model_version.*", "custom.type"],
        "model_pattern": "fraud-*",
        "to_stages": ["Production", "canary"],
        "headers": {"x-team": "risk: ${TEAM}"},
        "signatures": ["v1", "v1a"],
        "on_poison": "skip",
        "rate_per_minute": 30,
        "schedule_seconds": [0, 5, 60],
        "ca_certificate": "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----",
    }

    members = checked(members_of(sent(document)), is_new=True)

    assert members.pop("credentials") == {}
    members["signatures"] = list(members["signatures"])
    expected = {k: document[k] for k in members}
    assert members == expected
    assert set(members) == {f.name for f in FACTS.values()} - {
        "credentials",
        "client_key",
    }


def test_credentials_are_kept_changed_added_and_removed_and_never_shown() -> None:
    document = {**defaults(), "format": "github", "credential_names": ["A", "B"]}
    typed = sent(document)
    typed.update({"credential.A": "", "credential.token": "ghp_new"})
    typed.add("remove-credential", "B")
    for name, value in (("C", "cccc"), ("", "")):
        typed.add("new-credential", name)
        typed.add("new-credential-value", value)

    assert credentials_of(document) == ["A", "B", "token"]
    assert members_of(typed)["credentials"] == {
        "token": "ghp_new",
        "C": "cccc",
        "B": None,
    }


@pytest.mark.parametrize(
    ("name", "text", "field"),
    [
        ("headers", "no colon", "headers"),
        ("rate_per_minute", "many", "rate_per_minute"),
        ("schedule_seconds", "0, soon", "schedule_seconds"),
        ("url", "ftp://example.com", "url"),
        ("option.variables", "no colon", "options.variables"),
        ("rate_per_minute", "0", "rate_per_minute"),
        ("event_types", "no type!", "event_types.0"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_field(
    name: str, text: str, field: str
) -> None:
    document = {**defaults(), "url": "https://example.com/", "format": "gitlab"}
    typed = sent(document)
    typed.setlist(name, [text])

    with pytest.raises(InvalidInputError) as refused:
        checked(members_of(typed), is_new=True)

    assert refused.value.field == field


def test_what_was_typed_stands_in_the_form_again() -> None:
    typed = sent({**defaults(), "url": "https://example.com/", "format": "gitlab"})
    typed.setlist("rate_per_minute", ["many"])
    typed.setlist("event_types", ["model_version.*"])

    again = {
        f.name: f
        for g in groups(
            {**defaults(), "format": "gitlab"}, STAGES, {"rate_per_minute": "no"}, typed
        )
        for f in g.fields
    }

    assert again["rate_per_minute"].value == "many"
    assert again["rate_per_minute"].problem == "no"
    chosen = [c.value for c in again["event_types"].choices if c.is_chosen]
    assert chosen == ["model_version.*"]
