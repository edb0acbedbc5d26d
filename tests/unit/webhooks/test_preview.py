"""The request that an event would make, without its secrets."""

from datetime import UTC, datetime
from typing import Any

import pytest

from webhooks.errors import InvalidSubscriptionError
from webhooks.events import Event
from webhooks.formats import FORMATS
from webhooks.preview import Preview, preview
from webhooks.roster.secrets import SecretBox
from webhooks.roster.specs import SubscriptionSpec
from webhooks.sending.guard import AddressGuard

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SECRET = "hunter2-hunter2"


def shown(url: str = "https://ci.example.com/hook", **choices: Any) -> Preview:  # noqa: ANN401  # Any field
    event = Event(
        type="model_version.stage_changed",
        ordering_key="k",
        subject="fraud",
        target="Production",
        data={"model": "fraud", "version": 7},
        occurred_at=NOW,
        id="msg_1",
    )
    return preview(
        SubscriptionSpec(url, **choices),
        event,
        box=SecretBox(["a key for tests"]),
        guard=AddressGuard([], allow_http=False),
        lent={"deployment_token": "sg_dpl_lent"},
        now=NOW,
    )


def test_it_is_the_request_with_every_header_in_order() -> None:
    found = shown()

    assert found.is_wanted
    assert found.url == "https://ci.example.com/hook"
    assert found.headers is not None
    assert list(found.headers.items()) == [
        ("host", "ci.example.com"),
        ("content-length", str(len(found.body))),
        ("webhook-hop", "1"),
        ("webhook-deployment-token", "(redacted)"),
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", str(int(NOW.timestamp()))),
        ("webhook-signature", "(redacted)"),
        ("content-type", "application/json"),
        ("user-agent", "stagegate-webhooks/1"),
        ("accept-encoding", "identity"),
        ("connection", "close"),
    ]
    assert found.body == (
        '{"type":"model_version.stage_changed",'
        '"timestamp":"2026-11-20T12:00:00.000000Z",'
        '"data":{"model":"fraud","version":7}}'
    )


def test_no_secret_is_in_it_wherever_it_goes() -> None:
    found = shown(
        "https://ci.example.com/${URL}?q=${URL}",
        format="gitlab",
        options={"ref": "main"},
        headers={"authorization": "Bearer ${TOKEN}", "x-team": "risk"},
        credentials={"URL": "url-secret-1", "TOKEN": SECRET, "token": "glptt-123456"},
        signatures=("v1", "v1a"),
    )

    said = str(found)
    for secret in (SECRET, "url-secret-1", "glptt-123456", "sg_dpl_lent"):
        assert secret not in said
    assert found.headers is not None
    assert found.headers["authorization"] == "Bearer (redacted)"
    assert found.headers["x-team"] == "risk"
    assert "ref=main" in found.body


@pytest.mark.parametrize(
    "choices",
    [
        {"event_types": ("registered_model.*",)},
        {"subject_pattern": "churn*"},
        {"targets": ("Staging",)},
        {"format": "mlflow"},
    ],
)
def test_it_says_when_the_event_would_not_be_sent(choices: dict[str, Any]) -> None:
    assert not shown(**choices).is_wanted


def test_what_could_not_be_saved_is_refused_with_its_field() -> None:
    with pytest.raises(InvalidSubscriptionError) as refused:
        shown(format="github", options={"refs": "main"}, credentials={"token": SECRET})

    assert refused.value.field == "options.refs"


def test_what_the_format_has_no_word_for_is_said() -> None:
    found = shown(format="mlflow")

    assert found.problem is not None
    assert found.headers is None


def read_by(name: str, options: dict[str, str]) -> set[str]:
    """The options that a format says it has, beside these."""
    with pytest.raises(InvalidSubscriptionError) as refused:
        FORMATS[name].check({**options, "no-such-option": "x"})
    return set(refused.value.message.partition("it has ")[2].split(", "))


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_declares_every_option_that_it_reads(name: str) -> None:
    modes: dict[str, dict[str, str]] = {
        "github": {"dispatch": "workflow"},
        "jenkins": {"trigger": "build"},
    }

    read = read_by(name, {}) | read_by(name, modes.get(name, {}))

    assert read == FORMATS[name].options.keys()
