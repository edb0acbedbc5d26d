"""The formats of other registries: MLflow's and Databricks'."""

import base64
import hashlib
import hmac
import json
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from webhooks import formats
from webhooks.errors import InvalidSubscriptionError, RenderError
from webhooks.events import Event
from webhooks.formats import FORMATS, registries
from webhooks.roster.spec_checks import check_spec
from webhooks.roster.specs import SubscriptionSpec
from webhooks.sending.guard import AddressGuard

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
DATA: dict[str, Any] = {
    "model": "fraud",
    "version": 7,
    "source": "s3://models/fraud",
    "run_id": None,
    "description": "",
    "tags": {"team": "risk"},
    "key": "team",
    "value": "risk",
    "alias": "champion",
    "from_stage": "Staging",
    "to_stage": "Production",
    "comment": "looks good",
    "actor": {"kind": "token", "name": "alice"},
}
SPEC = SubscriptionSpec("https://example.com/hook")


def event(event_type: str, target: str | None = None) -> Event:
    return Event(event_type, "key", "fraud", target, DATA, NOON)


def ping(sample: str | None) -> Event:
    data = {} if sample is None else {"sample": sample}
    return Event("webhook.ping", "key", "", None, data, NOON)


def said(name: str, told: Event, **options: object) -> dict[str, Any]:
    body = formats.render(name, "msg_a", told, options).body
    found: dict[str, Any] = json.loads(body.replace(b"\0", b""))
    return found


MLFLOW_SAYS = {
    "registered_model.created": (
        ("registered_model", "created"),
        {"name": "fraud", "tags": {"team": "risk"}, "description": ""},
    ),
    "model_version.registered": (
        ("model_version", "created"),
        {
            "name": "fraud",
            "version": "7",
            "source": "s3://models/fraud",
            "run_id": None,
            "tags": {"team": "risk"},
            "description": None,
        },
    ),
    "model_version.tag_set": (
        ("model_version_tag", "set"),
        {"name": "fraud", "version": "7", "key": "team", "value": "risk"},
    ),
    "model_version.tag_deleted": (
        ("model_version_tag", "deleted"),
        {"name": "fraud", "version": "7", "key": "team"},
    ),
    "model_version.alias_set": (
        ("model_version_alias", "created"),
        {"name": "fraud", "alias": "champion", "version": "7"},
    ),
    "model_version.alias_deleted": (
        ("model_version_alias", "deleted"),
        {"name": "fraud", "alias": "champion"},
    ),
}


@pytest.mark.parametrize("event_type", MLFLOW_SAYS)
def test_mlflow_is_told_in_its_own_words(event_type: str) -> None:
    (entity, action), data = MLFLOW_SAYS[event_type]

    assert said("mlflow", event(event_type)) == {
        "entity": entity,
        "action": action,
        "timestamp": "2026-11-20T12:00:00.000000+00:00",
        "data": data,
    }


def test_a_versions_description_goes_along_where_there_is_one() -> None:
    told = replace(event("model_version.registered"), data=DATA | {"description": "x"})

    assert said("mlflow", told)["data"]["description"] == "x"


@pytest.mark.parametrize("event_type", registries.WORDS)
def test_a_ping_shows_mlflow_an_example_of_what_is_asked_for(event_type: str) -> None:
    word = registries.WORDS[event_type]

    found = said("mlflow", ping(event_type))

    assert (found["entity"], found["action"]) == (word.entity, word.action)
    assert tuple(found["data"]) == word.members
    assert None not in found["data"].values()
    kind = word.entity.replace("_", " ")
    assert found["data"].get("description") in {None, f"An example {kind}"}
    of = "prompt" if "prompt" in kind else "model"
    assert found["data"].get("name") in {None, f"example_{of}"}


@pytest.mark.parametrize("name", ["mlflow", "databricks"])
@pytest.mark.parametrize(
    "told", [event("model_version.updated"), ping(None), ping("no.such")]
)
def test_what_a_format_has_no_words_for_is_not_rendered(name: str, told: Event) -> None:
    with pytest.raises(RenderError, match="has no"):
        formats.render(name, "msg_a", told)


def test_mlflows_delivery_id_is_a_uuid_of_the_message() -> None:
    first, again, other = (
        formats.render("mlflow", message_id, event("model_version.tag_set")).headers[
            "x-mlflow-delivery-id"
        ]
        for message_id in ("msg_a", "msg_a", "msg_b")
    )

    assert first == again != other
    assert uuid.UUID(first).version == 4


def test_mlflows_signature_covers_id_time_and_body() -> None:
    headers = FORMATS["mlflow"].signature("msg_a", NOON, b"{}", {"secret": "schlüssel"})

    seconds = str(int(NOON.timestamp()))
    message = f"{registries.mlflow_delivery_id('msg_a')}.{seconds}.{{}}".encode()
    digest = hmac.new("schlüssel".encode(), message, hashlib.sha256).digest()
    assert headers == {
        "x-mlflow-timestamp": seconds,
        "x-mlflow-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def test_without_a_secret_neither_signs() -> None:
    assert set(FORMATS["mlflow"].signature("msg_a", NOON, b"{}", {})) == {
        "x-mlflow-timestamp"
    }
    assert FORMATS["databricks"].signature("msg_a", NOON, b"{}", {}) == {}
    assert FORMATS["databricks"].authorization({}, {}) == {}


def test_databricks_signature_is_of_the_body_alone() -> None:
    headers = FORMATS["databricks"].signature(
        "msg_a", NOON, b"{}", {"secret": "s3cret"}
    )

    digest = hmac.new(b"s3cret", b"{}", hashlib.sha256).hexdigest()
    assert headers == {"x-databricks-signature": digest}


FRAUD_7 = "version 7 of model 'fraud'"
DATABRICKS_SAYS: dict[str, tuple[Event, dict[str, Any]]] = {
    "REGISTERED_MODEL_CREATED": (
        event("registered_model.created"),
        {"text": "alice created the model 'fraud'."},
    ),
    "MODEL_VERSION_CREATED": (
        event("model_version.registered"),
        {"version": "7", "text": f"alice created {FRAUD_7}."},
    ),
    "MODEL_VERSION_TRANSITIONED_STAGE": (
        event("model_version.stage_changed", "Production"),
        {
            "version": "7",
            "from_stage": "Staging",
            "to_stage": "Production",
            "text": f"alice moved {FRAUD_7} from Staging to Production.",
        },
    ),
    "TRANSITION_REQUEST_CREATED": (
        event("transition_request.created", "Production"),
        {
            "version": "7",
            "from_stage": "Staging",
            "to_stage": "Production",
            "text": f"alice asked to move {FRAUD_7} from Staging to Production.",
        },
    ),
    "MODEL_VERSION_TAG_SET": (
        event("model_version.tag_set"),
        {
            "version": "7",
            "tags": [{"key": "team", "value": "risk"}],
            "text": f"alice set the tag 'team' of {FRAUD_7}.",
        },
    ),
    "COMMENT_CREATED": (
        event("model_version.commented"),
        {
            "version": "7",
            "comment": "looks good",
            "text": f"alice commented on {FRAUD_7}.",
        },
    ),
}


@pytest.mark.parametrize("name", DATABRICKS_SAYS)
def test_databricks_receivers_are_told_in_their_words(name: str) -> None:
    told, members = DATABRICKS_SAYS[name]

    assert said("databricks", told) == {
        "event": name,
        "webhook_id": "subscription_id",
        "event_timestamp": int(NOON.timestamp() * 1000),
        "model_name": "fraud",
        **members,
    }


CHANGED = event("model_version.stage_changed", "Production")


@pytest.mark.parametrize(
    ("options", "told", "takes"),
    [
        ({}, CHANGED, True),
        ({}, event("model_version.updated"), False),
        ({"events": ["MODEL_VERSION_TRANSITIONED_STAGE"]}, CHANGED, True),
        ({"events": ["MODEL_VERSION_TRANSITIONED_TO_PRODUCTION"]}, CHANGED, True),
        ({"events": ["MODEL_VERSION_TRANSITIONED_TO_STAGING"]}, CHANGED, False),
        ({"events": ["COMMENT_CREATED"]}, CHANGED, False),
        ({"test_mode": True}, CHANGED, False),
        ({"test_mode": False}, CHANGED, True),
    ],
)
def test_databricks_takes_what_its_names_ask_for(
    options: dict[str, Any], told: Event, *, takes: bool
) -> None:
    assert formats.takes("databricks", told, options) is takes


def test_an_event_is_told_by_the_first_name_that_fits() -> None:
    to_staging, to_production, to_any = (
        "MODEL_VERSION_TRANSITIONED_TO_STAGING",
        "MODEL_VERSION_TRANSITIONED_TO_PRODUCTION",
        "MODEL_VERSION_TRANSITIONED_STAGE",
    )

    names = [to_staging, to_production, to_any]
    assert said("databricks", CHANGED, events=names)["event"] == to_production
    # A choice that changed after the event was stored.
    assert said("databricks", CHANGED, events=[to_staging])["event"] == to_any


@pytest.mark.parametrize(
    ("sample", "events", "name", "to_stage"),
    [
        ("model_version.commented", [], "COMMENT_CREATED", None),
        (
            "model_version.stage_changed",
            ["TRANSITION_REQUEST_TO_ARCHIVED_CREATED", "COMMENT_CREATED"],
            "TRANSITION_REQUEST_TO_ARCHIVED_CREATED",
            "Archived",
        ),
        (
            "MODEL_VERSION_TRANSITIONED_TO_PRODUCTION",
            ["COMMENT_CREATED"],
            "MODEL_VERSION_TRANSITIONED_TO_PRODUCTION",
            "Production",
        ),
        (
            "MODEL_VERSION_TRANSITIONED_STAGE",
            [],
            "MODEL_VERSION_TRANSITIONED_STAGE",
            "Staging",
        ),
    ],
)
def test_a_ping_shows_databricks_an_example(
    sample: str, events: list[str], name: str, to_stage: str | None
) -> None:
    options = {"events": events} if events else {}

    found = said("databricks", ping(sample), **options)

    assert (found["event"], found.get("to_stage")) == (name, to_stage)


def test_a_sentence_needs_no_actor() -> None:
    told = replace(CHANGED, data={"model": "fraud", "version": 7})

    assert said("databricks", told)["text"].startswith("Somebody moved version 7")


INVALID: list[tuple[str, dict[str, Any], str]] = [
    ("mlflow", {"events": []}, "options.events"),
    ("mlflow", {"name": ""}, "options.name"),
    ("mlflow", {"name": "-a"}, "options.name"),
    ("mlflow", {"name": "a."}, "options.name"),
    ("mlflow", {"name": "a b"}, "options.name"),
    ("mlflow", {"name": "a" * 64}, "options.name"),
    ("mlflow", {"name": 5}, "options.name"),
    ("databricks", {"name": "a"}, "options.name"),
    ("databricks", {"events": []}, "options.events"),
    ("databricks", {"events": "COMMENT_CREATED"}, "options.events"),
    ("databricks", {"events": ["COMMENTED"]}, "options.events"),
    ("databricks", {"events": [["COMMENT_CREATED"]]}, "options.events"),
    ("databricks", {"test_mode": "yes"}, "options.test_mode"),
]


@pytest.mark.parametrize(("name", "options", "field"), INVALID)
def test_options_they_cannot_use_are_refused_by_name(
    name: str, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidSubscriptionError) as caught:
        formats.check(name, options)

    assert caught.value.field == field


@pytest.mark.parametrize("name", ["a", "a" * 63, "Deploy_v1.2-b"])
def test_mlflows_names_are_taken(name: str) -> None:
    assert formats.check("mlflow", {"name": name}).body


@pytest.mark.parametrize("name", ["mlflow", "databricks"])
def test_a_type_that_could_never_be_sent_is_refused(name: str) -> None:
    spec = replace(SPEC, format=name)

    assert check_spec(
        AddressGuard(), replace(spec, event_types=["*", "model_version.*"])
    )
    with pytest.raises(InvalidSubscriptionError, match="no word for") as caught:
        check_spec(AddressGuard(), replace(spec, event_types=["model_version.updated"]))
    assert caught.value.field == "event_types"


@pytest.mark.parametrize(
    "header",
    [
        *("X-Databricks-Signature", "X-MLflow-Signature", "X-MLflow-Timestamp"),
        "X-MLflow-Delivery-Id",
    ],
)
def test_headers_that_a_receiver_verifies_by_cannot_be_set(header: str) -> None:
    with pytest.raises(InvalidSubscriptionError, match="cannot be set"):
        check_spec(AddressGuard(), replace(SPEC, headers={header: "x"}))


@pytest.mark.parametrize(
    ("name", "filters", "first"),
    [
        ("standard", ["*"], None),
        ("smoke-signals", ["*"], None),
        ("mlflow", ["webhook.*"], None),
        ("mlflow", ["prompt.created", "*"], "prompt.created"),
        ("databricks", ["*"], "registered_model.created"),
        ("mlflow", ["model_version.*"], "model_version.registered"),
    ],
)
def test_a_test_shows_the_first_type_that_is_asked_for(
    name: str, filters: list[str], first: str | None
) -> None:
    assert formats.first_type(name, filters) == first


def test_a_format_that_is_gone_takes_everything() -> None:
    assert formats.takes("smoke-signals", CHANGED, {})


def test_every_name_of_databricks_is_of_a_type_it_has_words_for() -> None:
    types = {event_type for event_type, _ in registries.NAMES.values()}

    assert set(FORMATS["databricks"].event_types or ()) == types
