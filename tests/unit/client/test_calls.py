"""Every call sends what the contract says and reads what it answers."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from registry import errors
from registry.client import RegistryClient, Transition
from registry.client.registration import is_address
from tests.unit.fake_registry import (
    Answer,
    FakeRegistry,
    model_document,
    transition_document,
    version_document,
)

SUBSCRIPTION = {
    "id": "w1",
    "url": "https://ci.example.com/hook",
    "state": "active",
    "event_types": ["*"],
    "secret": "whsec_shown_once",
}
DELIVERY = {"id": "d1", "state": "pending", "event_type": "webhook.ping"}
BINDING = {"id": "b1", "subject": "leads", "role": "promoter"}
REQUEST = {
    "id": "req_1",
    "model": "fraud",
    "version": 2,
    "from_stage": "Staging",
    "to_stage": "Production",
    "state": "open",
    "approvals_needed": 1,
}
CHECK = {"name": "tests", "status": "passed"}
HOLD = {"stage": "Production", "reason": "audit", "by": "alice", "until": None}
TOKEN = {"id": "t1", "name": "ci", "role": "viewer", "token": "sg_pat_new"}

Call = Callable[[RegistryClient], Any]

CALLS: list[tuple[str, str, object, Call, object]] = [
    ("POST", "/models", model_document(),
     lambda c: c.create_model("fraud", description="d", tags={"a": "b"}),
     {"name": "fraud", "description": "d", "tags": {"a": "b"}}),
    ("PATCH", "/models/fraud", model_document("scam"),
     lambda c: c.update_model("fraud", name="scam"), {"name": "scam"}),
    ("DELETE", "/models/fraud", {}, lambda c: c.delete_model("fraud"), None),
    ("PATCH", "/models/fraud/versions/1", version_document(),
     lambda c: c.update_version("fraud", 1, tags={"a": None}), {"tags": {"a": None}}),
    ("DELETE", "/models/fraud/versions/1", {},
     lambda c: c.delete_version("fraud", 1), None),
    ("POST", "/models/fraud/versions/1/verify", version_document(),
     lambda c: c.verify("fraud", 1), None),
    ("POST", "/models/fraud/versions/2/transitions", transition_document(),
     lambda c: c.transition("fraud", 2, "Production"), {"to_stage": "Production"}),
    ("POST", "/models/fraud/versions/2/transitions", transition_document(),
     lambda c: c.promote(
         "fraud", 2, "Production", reason="good", expected_incumbent="none"),
     {"to_stage": "Production", "reason": "good", "expected_incumbent": None}),
    ("POST", "/models/fraud/versions/2/transitions", transition_document(),
     lambda c: c.transition("fraud", 2, "Production", expected_incumbent=1),
     {"to_stage": "Production", "expected_incumbent": 1}),
    ("POST", "/models/fraud/versions/2/transitions", transition_document(),
     lambda c: c.archive("fraud", 2, reason="old"),
     {"to_stage": "Archived", "reason": "old"}),
    ("POST", "/models/fraud/rollback", transition_document(),
     lambda c: c.rollback("fraud", to_version=1, reason="bad"),
     {"to_version": 1, "reason": "bad"}),
    ("POST", "/models/fraud/versions/2/transitions", transition_document(),
     lambda c: c.promote("fraud", 2, "Production", reason="fire", break_glass=True),
     {"to_stage": "Production", "reason": "fire", "break_glass": True}),
    ("POST", "/transition-requests", REQUEST,
     lambda c: c.requests.create("fraud", 2, "Production", reason="r"),
     {"model": "fraud", "version": 2, "to_stage": "Production", "reason": "r"}),
    ("POST", "/transition-requests", REQUEST,
     lambda c: c.requests.create("fraud", 2, "Production"),
     {"model": "fraud", "version": 2, "to_stage": "Production"}),
    ("POST", "/transition-requests/req_1/approve", {**REQUEST, "transition": None},
     lambda c: c.requests.approve("req_1", comment="fine"), {"comment": "fine"}),
    ("POST", "/transition-requests/req_1/reject", REQUEST,
     lambda c: c.requests.reject("req_1"), {}),
    ("POST", "/transition-requests/req_1/cancel", REQUEST,
     lambda c: c.requests.cancel("req_1"), {}),
    ("POST", "/models/fraud/versions/2/checks", CHECK,
     lambda c: c.checks.report("fraud", 2, "tests", "passed", url="https://ci.example"),
     {"name": "tests", "status": "passed", "url": "https://ci.example"}),
    ("PUT", "/models/fraud/holds/Production", HOLD,
     lambda c: c.holds.set("fraud", "Production", reason="audit"),
     {"reason": "audit", "until": None}),
    ("PUT", "/models/fraud/holds/Production", HOLD,
     lambda c: c.holds.set("fraud", "Production", reason="audit", until=datetime(
         2026, 12, 1, tzinfo=UTC)),
     {"reason": "audit", "until": "2026-12-01T00:00:00.000000Z"}),
    ("DELETE", "/models/fraud/holds/Production", {},
     lambda c: c.holds.lift("fraud", "Production"), None),
    ("PUT", "/models/fraud/aliases/champion", {"alias": "champion", "version": 2},
     lambda c: c.set_alias("fraud", "champion", 2), {"version": 2}),
    ("DELETE", "/models/fraud/aliases/champion", {},
     lambda c: c.delete_alias("fraud", "champion"), None),
    ("POST", "/webhooks", SUBSCRIPTION,
     lambda c: c.webhooks.create("https://x.example.com", to_stages=["Production"]),
     {"url": "https://x.example.com", "to_stages": ["Production"]}),
    ("PATCH", "/webhooks/w1", SUBSCRIPTION,
     lambda c: c.webhooks.update("w1", state="paused"), {"state": "paused"}),
    ("DELETE", "/webhooks/w1", {}, lambda c: c.webhooks.delete("w1"), None),
    ("POST", "/webhooks/w1/test", {"delivered": True},
     lambda c: c.webhooks.test("w1"), None),
    ("POST", "/webhooks/w1/rotate-secret", {"secret": "whsec_b"},
     lambda c: c.webhooks.rotate_secret("w1"), {}),
    ("POST", "/webhooks/w1/rotate-secret", {"secret": "whsec_b"},
     lambda c: c.webhooks.rotate_secret("w1", overlap_seconds=9),
     {"overlap_seconds": 9}),
    ("POST", "/deliveries/d1/redeliver", DELIVERY,
     lambda c: c.deliveries.redeliver("d1"), {}),
    ("POST", "/tokens", TOKEN, lambda c: c.tokens.create("ci", "viewer"),
     {"name": "ci", "role": "viewer"}),
    ("POST", "/tokens", TOKEN,
     lambda c: c.tokens.create("ci", "viewer", expires_in_days=7),
     {"name": "ci", "role": "viewer", "expires_in_days": 7}),
    ("POST", "/tokens", TOKEN,
     lambda c: c.tokens.create("ci", "writer", models="a-*", scopes=("write:a-b",)),
     {"name": "ci", "role": "writer", "models": "a-*", "scopes": ["write:a-b"]}),
    ("DELETE", "/tokens/t1", {}, lambda c: c.tokens.revoke("t1"), None),
    ("POST", "/role-bindings", BINDING,
     lambda c: c.roles.grant("promoter", group="leads", models="a-*"),
     {"subject_kind": "group", "subject": "leads", "role": "promoter",
      "models": "a-*"}),
    ("POST", "/role-bindings", BINDING,
     lambda c: c.roles.grant("viewer", user="https://idp#7"),
     {"subject_kind": "user", "subject": "https://idp#7", "role": "viewer",
      "models": "*"}),
    ("DELETE", "/role-bindings/b1", {}, lambda c: c.roles.revoke("b1"), None),
    ("POST", "/trusted-publishers", {"id": "p1"},
     lambda c: c.publishers.add(
         "kubernetes", "training", {"namespace": "ml"}, "writer", issuer="https://c"),
     {"provider": "kubernetes", "name": "training", "claims": {"namespace": "ml"},
      "role": "writer", "models": "*", "issuer": "https://c"}),
    ("GET", "/trusted-publishers/p1", {"id": "p1"},
     lambda c: c.publishers.get("p1"), None),
    ("DELETE", "/trusted-publishers/p1", {},
     lambda c: c.publishers.remove("p1"), None),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "answer", "call", "body"), CALLS)
def test_a_change_is_sent_as_the_contract_says(
    fake: FakeRegistry,
    client: RegistryClient,
    *,
    method: str,
    path: str,
    answer: object,
    call: Call,
    body: object,
) -> None:
    fake.json(method, path, answer)

    call(client)

    (asked,) = fake.asked_for(method, path)
    assert (asked.json if asked.body else None) == body


LISTS: list[tuple[str, dict[str, str], object, Call]] = [
    ("/models/fraud/versions", {"stage": "Staging"}, version_document(),
     lambda c: c.versions("fraud", stage="Staging")),
    ("/models/fraud/history", {"stage": "Staging"},
     {"transition_id": "t", "version": 1, "from_stage": "None", "to_stage": "Staging"},
     lambda c: c.history("fraud", stage="Staging")),
    ("/models/fraud/versions/1/artifacts", {}, {"path": "a", "size_bytes": 1},
     lambda c: c.artifact_files("fraud", 1)),
    ("/webhooks", {}, SUBSCRIPTION, lambda c: c.webhooks.list()),
    ("/webhooks/w1/deliveries", {"state": "dead"}, DELIVERY,
     lambda c: c.webhooks.deliveries("w1", state="dead")),
    ("/deliveries", {"transition_id": "t"}, DELIVERY,
     lambda c: c.deliveries.of_transition("t")),
    ("/deliveries/d1/attempts", {}, {"number": 1, "outcome": "delivered"},
     lambda c: c.deliveries.attempts("d1")),
    ("/audit", {"model": "fraud"},
     {"chain": "system", "n": 1, "hash": "a", "prev_hash": "b", "entry": "{}"},
     lambda c: c.audit.entries(model="fraud")),
    ("/tokens", {}, TOKEN, lambda c: c.tokens.list()),
    ("/role-bindings", {}, BINDING, lambda c: c.roles.list()),
    ("/transition-requests", {"model": "fraud", "state": "all"}, REQUEST,
     lambda c: c.requests.list(model="fraud", state="all")),
    ("/models/fraud/versions/2/checks", {}, CHECK,
     lambda c: c.checks.list("fraud", 2)),
]  # fmt: skip


NO_VERSIONS = (
    *("abc", "1.0", 2.0, "", " 1", "+1", "\uff11", "9" * 5000),
    *(0, -1, True, None),
)
VERSION_CALLS: dict[str, Callable[[RegistryClient, Any], object]] = {
    "get_version": lambda c, v: c.get_version("m", v),
    "update_version": lambda c, v: c.update_version("m", v, description="x"),
    "delete_version": lambda c, v: c.delete_version("m", v),
    "artifact_files": lambda c, v: c.artifact_files("m", v),
    "download": lambda c, v: c.download("m", v, Path("nowhere")),
    "promote": lambda c, v: c.promote("m", v, "Staging"),
    "archive": lambda c, v: c.archive("m", v),
    "expected": lambda c, v: c.promote("m", 1, "Staging", expected_incumbent=v or 0),
    "rollback": lambda c, v: c.rollback("m", to_version=v or 0),
    "set_alias": lambda c, v: c.set_alias("m", "champion", v),
    "report": lambda c, v: c.deployments.report("m", v, "failed", environment="e"),
    "deployments": lambda c, v: c.deployments.list("m", v),
    "check": lambda c, v: c.checks.report("m", v, "tests", "passed"),
    "checks": lambda c, v: c.checks.list("m", v),
    "ask": lambda c, v: c.requests.create("m", v, "Staging"),
    "preview": lambda c, v: c.preview("m", v, "Staging"),
}


@pytest.mark.parametrize("call", VERSION_CALLS.values(), ids=VERSION_CALLS)
@pytest.mark.parametrize("version", NO_VERSIONS)
def test_a_version_that_is_no_whole_number_is_told_so(
    fake: FakeRegistry,
    client: RegistryClient,
    call: Callable[[RegistryClient, Any], object],
    version: object,
) -> None:
    with pytest.raises(errors.InvalidInputError, match="a whole number") as caught:
        call(client, version)

    assert caught.value.field == "version"
    assert fake.asked == []


def test_the_text_of_a_number_is_a_version_too(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    """MLflow's records have it so."""
    fake.json("GET", "/models/m/versions/7", version_document(7))

    assert client.get_version("m", cast("int", "007")).version == 7


@pytest.mark.parametrize(("path", "query", "item", "call"), LISTS)
def test_a_list_is_asked_for_as_the_contract_says(
    fake: FakeRegistry,
    client: RegistryClient,
    *,
    path: str,
    query: dict[str, str],
    item: object,
    call: Call,
) -> None:
    fake.json("GET", path, {"items": [item], "next_cursor": None})

    (record,) = call(client)

    assert record.raw == item
    is_whole = path.startswith("/deliveries") or path.endswith("/checks")
    assert fake.asked[0].query == (query if is_whole else {"limit": "200", **query})


def test_a_model_is_read_with_its_stages(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.json("GET", "/models/fraud", model_document(a_new_member=1))

    model = client.get_model("fraud")

    assert model.stages == {"Production": [2]}
    assert model.created_at == datetime(2026, 11, 20, 12, tzinfo=UTC)
    assert model.raw["a_new_member"] == 1


def test_a_version_is_read_with_its_entity_tag_for_the_next_change(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.json("GET", "/models/fraud/versions/1", version_document(), ETag='"v.1"')
    fake.json("PATCH", "/models/fraud/versions/1", version_document())
    fake.json("DELETE", "/models/fraud/versions/1", {})

    version = client.get_version("fraud", 1)
    client.update_version("fraud", 1, if_match=version.etag, description="x")
    client.delete_version("fraud", 1, if_match=version.etag)

    assert version.etag == '"v.1"'
    assert [one.headers.get("If-Match") for one in fake.asked] == [
        None,
        '"v.1"',
        '"v.1"',
    ]


def test_a_transition_says_whether_it_was_replayed(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.json(
        "POST",
        "/models/fraud/rollback",
        transition_document(1, cause="rollback", superseded=2),
        Idempotent_Replayed="true",
    )

    ours = client.rollback("fraud")  # whose first answer was lost on the way
    transition = client.rollback("fraud", idempotency_key="k")

    assert not ours.replayed
    assert isinstance(transition, Transition)
    assert transition.replayed
    assert transition.version.version == 1
    assert transition.superseded == 2


def test_the_holder_of_a_stage_is_asked_for_at_an_instant_in_utc(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.json("GET", "/models/fraud/stages/Production", version_document(2))
    at = datetime.fromisoformat("2026-11-20T13:00:00+01:00")

    then = client.stage_holder("fraud", "Production", at=at)
    now = client.stage_holder("fraud", "Production")

    assert then == now
    assert [one.query for one in fake.asked] == [
        {"at": "2026-11-20T12:00:00.000000Z"},
        {},
    ]


def test_one_thing_is_read_by_its_name(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.json("GET", "/models/fraud/aliases/champion", version_document(2))
    fake.json("GET", "/webhooks/w1", SUBSCRIPTION)
    fake.json("GET", "/deliveries/d1", DELIVERY)
    fake.json("GET", "/audit/verify", {"ok": True})

    assert client.get_alias("fraud", "champion").version == 2
    assert client.webhooks.get("w1").url == SUBSCRIPTION["url"]
    assert client.deliveries.get("d1").state == "pending"
    assert client.audit.verify() == {"ok": True}


def test_an_export_arrives_line_by_line(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    body = '{"format":"x"}\n\n{"entry":"é"}\n'.encode()
    fake.on("GET", "/api/v1/audit/export", lambda _: Answer(200, body))

    assert list(client.audit.export_lines()) == ['{"format":"x"}', '{"entry":"é"}']


def test_secrets_are_not_in_the_repr_of_a_record(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.json("POST", "/webhooks", SUBSCRIPTION)
    fake.json("POST", "/tokens", TOKEN)

    subscription = client.webhooks.create("https://x.example.com")
    token = client.tokens.create("ci", "viewer")

    assert subscription.secret == "whsec_shown_once"
    assert "shown_once" not in repr(subscription)
    assert "sg_pat_new" not in repr(token)


def test_ensure_model_creates_only_what_is_missing(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.problem("GET", "/models/fraud", "not-found", status=404)
    fake.json("GET", "/models/fraud", model_document())
    fake.json("POST", "/models", model_document(), status=201)

    client.ensure_model("fraud")
    client.ensure_model("fraud")

    assert len(fake.asked_for("POST", "/models")) == 1


def test_ensure_model_takes_the_one_that_somebody_else_just_created(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.problem("GET", "/models/fraud", "not-found", status=404)
    fake.json("GET", "/models/fraud", model_document(description="theirs"))
    fake.problem("POST", "/models", "conflict", status=409)

    assert client.ensure_model("fraud").description == "theirs"


def test_waiting_ends_when_every_delivery_is_acknowledged(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    for state in ("pending", "delivered"):
        fake.json(
            "GET",
            "/deliveries",
            {
                "items": [
                    {"id": "d1", "state": "delivered"},
                    {"id": "d2", "state": state},
                ]
            },
        )

    found = client.wait_for_deliveries("t-1", timeout_seconds=5)

    assert [one.id for one in found] == ["d1", "d2"]
    assert len(fake.asked) == 2


def test_waiting_for_nothing_ends_at_once(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.json("GET", "/deliveries", {"items": []})

    assert client.wait_for_deliveries("t-1", timeout_seconds=0) == []


def test_waiting_ends_when_the_time_is_up(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.json("GET", "/deliveries", {"items": [{"id": "d", "state": "pending"}]})

    with pytest.raises(errors.WaitTimeoutError, match=r"0\.1 s for deliveries: d is"):
        client.wait_for_deliveries("t-1", timeout_seconds=0.1)


@pytest.mark.parametrize(
    ("reason", "said"), [("410 Gone", "410 Gone"), (None, "no reason is recorded")]
)
def test_waiting_ends_with_the_reason_when_a_delivery_is_stuck(
    fake: FakeRegistry, client: RegistryClient, reason: str | None, said: str
) -> None:
    stuck = {"id": "d1", "state": "blocked", "reason": reason}
    fake.json("GET", "/deliveries", {"items": [stuck]})

    with pytest.raises(errors.RegistryError, match=f"d1 is blocked: {said}"):
        client.wait_for_deliveries("t-1", timeout_seconds=5)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("s3://bucket/prefix", True),
        ("mlflow-artifacts:/1/abc", True),
        ("model/", False),
        ("C:\\model", False),
        ("a b:c", False),
    ],
)
def test_an_address_is_told_from_a_path(source: str, expected: bool) -> None:  # noqa: FBT001  a column of the table
    assert is_address(source) is expected


def test_what_a_filter_chooses_is_sent_again_to_the_last_portion(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    path = "/webhooks/sub_1/deliveries/redeliver"
    fake.json("POST", path, {"count": 500, "next_cursor": "NTAw"})
    fake.json("POST", path, {"count": 7, "next_cursor": None})
    since = datetime(2026, 11, 20, tzinfo=UTC)

    count = client.webhooks.redeliver("sub_1", since=since, states=["dead"])

    chosen = {"since": since.isoformat(), "states": ["dead"]}
    bodies = [asked.json for asked in fake.asked]
    assert (count, bodies) == (507, [chosen, {**chosen, "cursor": "NTAw"}])
    assert len({asked.headers["Idempotency-Key"] for asked in fake.asked}) == 2


@pytest.mark.parametrize("whom", [{}, {"user": "a", "group": "b"}])
def test_role_is_given_to_a_person_or_to_a_group(
    client: RegistryClient, whom: dict[str, str]
) -> None:
    with pytest.raises(ValueError, match="either to a user or to a group"):
        client.roles.grant("viewer", **whom)
