"""Formats by name: what they render, refuse and find in answers.

What receivers make of it, ``tests/integration/webhooks/test_receivers.py`` shows.
"""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from webhooks import formats
from webhooks.errors import InvalidSubscriptionError, RenderError
from webhooks.events import Event, standard_body
from webhooks.formats import FORMATS, chat
from webhooks.formats.contract import MAX_RECEIPT_LENGTH

NOW = datetime(2026, 11, 20, tzinfo=UTC)
PING = Event("webhook.ping", "k", "s", None, {}, NOW)
JSON_HEADERS = {"content-type": "application/json"}


def test_the_standard_format_is_the_standard_body() -> None:
    rendered = formats.render("standard", "msg_a", PING)

    assert rendered.body == standard_body(PING)
    assert rendered.content_type == "application/json"
    assert rendered.headers == {}


def test_an_unknown_format_is_named_in_the_error() -> None:
    with pytest.raises(RenderError, match="smoke-signals"):
        formats.render("smoke-signals", "msg_a", PING)
    with pytest.raises(InvalidSubscriptionError, match="must be one of"):
        formats.check("smoke-signals", {})
    assert formats.find_receipt("smoke-signals", {}, b"") is None


VALID: list[tuple[str, dict[str, Any]]] = [
    ("standard", {}),
    ("standard", {"hub_signature": "${hub}"}),
    (
        "cloudevents",
        {"mode": "structured", "source": "https://a/b", "type_prefix": "a."},
    ),
    ("github", {"event_type": "deploy", "payload": {}}),
    ("github", {"payload": {"a": "data.b", "c": "data.b.d", "e": "data.b.f"}}),
    ("github", {"dispatch": "workflow", "ref": "refs/tags/v1"}),
    ("gitlab", {"ref": "main", "variables": {"A_1": "event"}}),
    ("jenkins", {"payload": {"a": {"value": "x ${token}"}}}),
    ("jenkins", {"trigger": "build", "user": "ci"}),
    ("slack", {"text": "{data.model}/{data.x.y} {no path}", "link": "data.links.a"}),
    ("teams", {"facts": {"Model": "data.model"}}),
]


@pytest.mark.parametrize(("name", "options"), VALID)
def test_a_sample_of_what_is_valid_renders(name: str, options: dict[str, Any]) -> None:
    assert formats.check(name, options).body


@pytest.mark.parametrize(("name", "options"), VALID)
def test_equal_events_give_equal_bytes(name: str, options: dict[str, Any]) -> None:
    first, second = (formats.render(name, "msg_a", PING, options) for _ in range(2))

    assert first == second


INVALID: list[tuple[str, dict[str, Any], str]] = [
    ("standard", {"ref": "main"}, "options.ref"),
    ("standard", {"hub_signature": "a literal"}, "options.hub_signature"),
    ("standard", {"hub_signature": 5}, "options.hub_signature"),
    ("cloudevents", {"mode": "batched"}, "options.mode"),
    ("cloudevents", {"mode": ["binary"]}, "options.mode"),
    ("cloudevents", {"source": "a b"}, "options.source"),
    ("cloudevents", {"source": ""}, "options.source"),
    ("cloudevents", {"type_prefix": "no dot"}, "options.type_prefix"),
    ("github", {"dispatch": "issue"}, "options.dispatch"),
    ("github", {"inputs": {}}, "options.inputs"),
    ("github", {"dispatch": "workflow"}, "options.ref"),
    ("github", {"dispatch": "workflow", "ref": "a\nb"}, "options.ref"),
    ("github", {"dispatch": "workflow", "ref": "${token}"}, "options.ref"),
    ("github", {"payload": ["data.a"]}, "options.payload"),
    ("github", {"payload": {"a": "model"}}, "options.payload"),
    ("github", {"payload": {"a": "data."}}, "options.payload"),
    ("github", {"payload": {"": "data"}}, "options.payload"),
    ("github", {"payload": {"a": "data." + "x" * 255}}, "options.payload"),
    ("github", {"payload": {"a": {"value": 5}}}, "options.payload"),
    ("github", {"payload": {"a": {"value": "x", "b": "c"}}}, "options.payload"),
    ("github", {"payload": {"a": {"value": "${"}}}, "options.payload"),
    ("github", {"payload": {"a": {"value": "\0"}}}, "options.payload"),
    (
        "github",
        {"dispatch": "workflow", "ref": "main", "return_run_details": "yes"},
        "options.return_run_details",
    ),
    ("gitlab", {"ref": "main", "variables": {"1A": "id"}}, "options.variables"),
    ("jenkins", {"trigger": "build", "user": "a:b"}, "options.user"),
    ("slack", {"text": "{deployment_token}"}, "options.text"),
    ("slack", {"text": "${url_secret}"}, "options.text"),
    ("slack", {"facts": {"a": {"value": "b"}}}, "options.facts"),
    ("slack", {"facts": {"a": "deployment_token"}}, "options.facts"),
    ("teams", {"link": "deployment_token"}, "options.link"),
]


@pytest.mark.parametrize(("name", "options", "field"), INVALID)
def test_what_a_format_cannot_use_is_refused_by_name(
    name: str, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidSubscriptionError) as caught:
        formats.check(name, options)

    assert caught.value.field == field


def test_githubs_event_types_have_a_hundred_characters() -> None:
    event = Event("a" * 101, "k", "s", None, {}, NOW)

    with pytest.raises(RenderError, match="100 characters"):
        formats.render("github", "msg_a", event)
    assert formats.render("github", "msg_a", event, {"event_type": "deploy"})


def test_cloudevents_without_a_subject_have_none() -> None:
    event = Event("a.b", "k", "", None, {"c": 1}, NOW)

    headers = formats.render("cloudevents", "msg_a", event).headers

    assert set(headers) == {
        *("ce-specversion", "ce-id", "ce-type", "ce-source", "ce-time"),
    }


def test_cloudevents_headers_are_percent_encoded_as_the_binding_says() -> None:
    event = Event("a.b", "k", 'a "b" 5 % ü {x} ~!', None, {}, NOW)

    headers = formats.render("cloudevents", "msg_a", event).headers

    assert headers["ce-subject"] == "a%20%22b%22%205%20%25%20%C3%BC%20{x}%20~!"


DATA = {"model": "fraud", "count": 2, "empty": "", "none": None, "deep": {"a": 1}}
CHANGED = Event("model.changed", "k", "s", None, DATA, NOW)


MOVED = {
    "model": "fraud",
    "version": 7,
    "stage": "Production",
    "status": "READY",
    "from_stage": "Staging",
    "to_stage": "Production",
    "cause": "promotion",
    "reason": "passed shadow test",
    "actor": {"kind": "token", "name": "ci"},
    "links": {"page": "https://registry.example.com/fraud/7"},
}


def test_a_chat_message_says_what_moved_where_by_whom_and_why() -> None:
    event = Event("model_version.stage_changed", "k", "s", None, MOVED, NOW)

    message = chat.message_of("msg_a", event, {})

    assert message.title == "fraud version 7: Staging → Production (promotion) by ci"
    assert message.facts[:6] == (
        *(("Model", "fraud"), ("Version", "7")),
        *(("From", "Staging"), ("To", "Production")),
        *(("By", "ci"), ("Why", "passed shadow test")),
    )
    assert message.link == "https://registry.example.com/fraud/7"


@pytest.mark.parametrize(
    ("event_type", "data", "title"),
    [
        ("registered_model.created", {"model": "fraud"}, "fraud: created"),
        (
            "model_version.alias_set",
            {"model": "fraud", "version": 7, "actor": {"name": "alice"}},
            "fraud version 7: alias set by alice",
        ),
        (
            "deployment.updated",
            {"model": "fraud", "version": 7},
            "fraud version 7: deployment updated",
        ),
        (
            "transition_request.created",
            {"model": "fraud", "from_stage": "None", "to_stage": "Staging"},
            "fraud: transition request created None → Staging",
        ),
        ("webhook.key_blocked", {"description": "d"}, "webhook key blocked"),
        ("ping", {}, "ping"),
    ],
)
def test_a_chat_title_says_what_happened(
    event_type: str, data: dict[str, Any], title: str
) -> None:
    event = Event(event_type, "k", "s", None, data, NOW)

    assert chat.message_of("msg_a", event, {}).title == title


def test_a_chat_message_shows_what_else_is_plain() -> None:
    message = chat.message_of("msg_a", CHANGED, {})

    assert message.facts == (("Model", "fraud"), ("count", "2"))
    assert message.link is None


@pytest.mark.parametrize("name", ["slack", "teams"])
def test_a_chat_message_fits_whatever_users_write(name: str) -> None:
    texts = {f"text_{n}": "🚀" * 5000 for n in range(10)}
    link = "https://registry.example.com/" + "%F0" * 1000
    data = {**MOVED, "model": "🚀" * 256, "links": {"page": link}, **texts}
    event = Event("model_version.stage_changed", "k", "s", None, data, NOW)

    for options in ({}, {"text": "".join(f"{{data.text_{n}}}" for n in range(10))}):
        document = json.loads(formats.render(name, "msg_a", event, options).body)
        assert len(json.dumps(document, ensure_ascii=False).encode()) <= 28_000
        said = json.dumps(document.get("blocks", []), ensure_ascii=False)
        assert len(said) <= 13_200
        assert max(map(len, said.split('"'))) <= 3000


def test_a_link_that_slack_would_refuse_is_left_out() -> None:
    data = {"model": "fraud", "links": {"page": "https://a/" + "b" * 3000}}
    event = Event("registered_model.created", "k", "s", None, data, NOW)

    (block,) = json.loads(formats.render("slack", "msg_a", event).body)["blocks"]

    assert block["type"] == "section"


@pytest.mark.parametrize("link", ["javascript:alert(1)", "https://a b", 5])
def test_a_chat_message_links_to_web_addresses_only(link: object) -> None:
    event = Event("a.b", "k", "s", None, {"link": link}, NOW)

    assert chat.message_of("msg_a", event, {"link": "data.link"}).link is None


def test_a_chat_title_that_comes_out_empty_is_the_type() -> None:
    message = chat.message_of("msg_a", CHANGED, {"text": "{data.gone}"})

    assert message.title == "model.changed"


def test_long_texts_of_a_chat_message_are_cut_visibly() -> None:
    event = Event("a.b", "k", "s", None, {"note": "x" * 9000}, NOW)

    ((_, value),) = chat.message_of("msg_a", event, {}).facts

    assert len(value) == chat.MAX_FACT
    assert value.endswith("…")


def test_a_chat_without_facts_has_no_fields() -> None:
    event = Event("a.b", "k", "s", None, {}, NOW)

    (block,) = json.loads(formats.render("slack", "msg_a", event).body)["blocks"]

    assert "fields" not in block


ANSWERS: list[tuple[str, dict[str, str], bytes, str | None]] = [
    ("github", {}, b'{"workflow_run_id": 17}', "17"),
    ("github", {}, b'{"html_url": "https://a", "workflow_run_id": 17}', "https://a"),
    ("github", {}, b'{"html_url": true, "run_url": "a\\nb"}', None),
    ("gitlab", {}, b'{"id": 5, "web_url": ""}', "5"),
    ("gitlab", {}, b"not JSON", None),
    ("gitlab", {}, b"[1]", None),
    ("gitlab", {}, b"\xff", None),
    ("gitlab", {}, b"[" * 100_000, None),
    ("gitlab", {}, b'{"id": "%s"}' % (b"x" * 2000), "x" * MAX_RECEIPT_LENGTH),
    (
        "jenkins",
        {"location": "https://a/queue/item/1/"},
        b"",
        "https://a/queue/item/1/",
    ),
    ("jenkins", {}, b'{"jobs": null}', None),
    ("jenkins", {}, b'{"jobs": {"a": {"triggered": false, "url": "x"}}}', None),
    ("jenkins", {}, b'{"jobs": {"a": 5}}', None),
    ("standard", {}, b'{"eventID": "e-1"}', "e-1"),
    ("cloudevents", {}, b"{}", None),
    ("slack", {}, b"ok", None),
]


@pytest.mark.parametrize(("name", "headers", "body", "expected"), ANSWERS)
def test_a_receipt_is_found_in_whatever_is_answered(
    name: str, headers: dict[str, str], body: bytes, *, expected: str | None
) -> None:
    assert formats.find_receipt(name, headers, body) == expected


def test_every_format_lends_once_at_most() -> None:
    by_header = {name for name, entry in FORMATS.items() if entry.lends_by_header}
    in_body = {
        name
        for name, options in [("github", {}), ("gitlab", {"ref": "a"}), ("jenkins", {})]
        if b"\0deployment_token\0" in formats.check(name, options).body
    }

    assert by_header == {"standard", "cloudevents"}
    assert in_body == {"github", "gitlab", "jenkins"}
