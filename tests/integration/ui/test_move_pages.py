"""The pages of moves, of requests, and the start page, without a browser."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from registry.persistence.across_models import held_models
from registry.persistence.database import end_reading
from registry.settings import packaged_config
from tests.integration.api.driver import MODEL, ON_BOTH_DATABASES, Driver, document_of
from tests.integration.api.gated import LOSS, asked, checked, gated_policy, staged
from tests.integration.conftest import SharedApps, close_app, signed_in
from tests.integration.statements import statements_of

# A page of a move: the sign-in; the model, the version, who would leave and who entered
# last (4); whether webhooks are others than before, and how those stand that would be
# told (2); what waits for the caller.
MOVE = 8
# The start page: the sign-in; requests, deployments, holds, moves, endpoints; one more
# for what waits where one of those is in trouble.
NOW = 6


def said(answer: TestResponse, status: int = 200) -> str:
    """What a page says, as one line."""
    assert answer.status_code == status, answer.text
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", answer.text)).split())


def shown(answer: TestResponse) -> str:
    """What the form of a page says that it showed."""
    (value,) = re.findall(r'name="shown" value="([^"]*)"', answer.text)
    return unescape(value)


def move(number: int, to: str = "Production") -> str:
    return f"/models/{MODEL}/versions/{number}/move?to={to}"


def send(
    api: Driver, path: str, form: Mapping[str, str], *, of: str = ""
) -> TestResponse:
    """Fill the form of a page in and send it."""
    facts = shown(api.client.get(of or path))
    target = path.partition("?")[0]
    return api.client.post(target, data={**form, "shown": facts})


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("policy") / "policy.toml"
    file.write_text(gated_policy())
    return file


@pytest.fixture
def app(
    tmp_path: Path, policy: Path, database: dict[str, str], shared_apps: SharedApps
) -> Iterator[Flask]:
    app = shared_apps.lend(tmp_path, {**database, "POLICY_FILE": str(policy)})
    yield app
    close_app(app)


@pytest.fixture
def loss(api: Driver) -> str:
    """A model whose version takes two approvals."""
    api.ready_versions(1, LOSS)
    return LOSS


def requested(api: Driver, model: str = MODEL, number: int = 1) -> str:
    """The path of the page of a request."""
    asker = api.with_role("promoter")
    request = asked(asker.move(number, "Production", model=model))
    return f"/requests/{request['id']}"


@ON_BOTH_DATABASES
def test_page_of_a_move_takes_as_many_statements_whatever_there_is(
    app: Flask, api: Driver
) -> None:
    api.ready_versions(2, "prices")
    api.moved(1, "Staging", "Production", model="prices")
    api.moved(2, "Staging", model="prices")
    path = "/models/prices/versions/2/move?to=Production"
    api.post("/webhooks", {"url": "http://127.0.0.1:9/"})
    api.client.get(path)

    with statements_of(app) as few:
        said(api.client.get(path))
    for number in range(5):
        api.post("/webhooks", {"url": f"http://127.0.0.1:9/{number}"})
        api.ready("prices")
    api.client.get(path)
    with statements_of(app) as many:
        said(api.client.get(path))

    assert len(many) == len(few) == MOVE, many


@ON_BOTH_DATABASES
def test_start_page_takes_as_many_statements_whatever_there_is(
    app: Flask, api: Driver
) -> None:
    staged(api)
    admin = api.with_role("admin").with_role("admin")  # who made no token of theirs
    with statements_of(app) as few:
        said(admin.client.get("/"))
    requested(api)
    api.post("/webhooks", {"url": "http://127.0.0.1:9/"})
    for number in range(5):
        api.ready_versions(1, f"model-{number}")
        api.moved(1, "Staging", "Production", model=f"model-{number}")
    with statements_of(app) as many:
        text = said(admin.client.get("/"))

    assert "1 waiting for you" in text
    assert len(many) == len(few) == NOW, many


def test_start_page_shows_nothing_of_models_that_may_not_be_read(api: Driver) -> None:
    staged(api, 2)
    path = requested(api)
    api.put(f"/models/{MODEL}/holds/Production", json={"reason": "an audit"})
    api.post(
        f"/models/{MODEL}/versions/2/deployments",
        {"status": "failed", "environment": "eu"},
    )
    for members in (
        {"role": "approver", "models": "churn*"},
        {"role": "admin", "scopes": ["approve:churn*"]},
    ):
        other = api.with_token(**members)
        assert MODEL not in said(other.client.get("/"))
        for show in ("waiting", "open", "past"):
            assert MODEL not in said(other.client.get(f"/requests?show={show}"))
        assert other.client.get(path).status_code == 403

    mine = said(api.with_token(role="approver", models="fr*").client.get("/"))
    for words in ("1 waiting for you", "1 deployment failed", "an audit"):
        assert words in mine


@ON_BOTH_DATABASES
def test_hold_is_found_behind_many_that_have_ended(api: Driver) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    hold = {"reason": "over", "until": until.isoformat().replace("+00:00", "Z")}
    for number in range(12):
        api.create_model(f"a{number:02}")
        api.put(f"/models/a{number:02}/holds/Production", json=hold)
    api.create_model("zz")
    api.put("/models/zz/holds/Production", json={"reason": "an audit"})

    with api.engine.connect() as cx:
        found = [
            [each.model for each in held_models(cx, at, limit=11)]
            for at in (until - timedelta(minutes=1), until)
        ]

    assert found == [[f"a{number:02}" for number in range(11)], ["zz"]]


def test_request_waits_for_those_alone_who_may_approve_it_and_have_not(
    api: Driver, loss: str
) -> None:
    path = requested(api, loss)
    one, other = (api.with_role("approver") for _ in range(2))
    promoter, admin = (api.with_role(role) for role in ("promoter", "admin"))
    api.ready_versions(1, "one-1")
    asked(admin.move(1, "Production", model="one-1"))

    assert "waiting for you" not in said(promoter.client.get("/"))
    assert "1 waiting for you" in said(admin.client.get("/"))  # not what it asked
    assert "2 waiting for you" in said(one.client.get("/"))
    answer = send(one, f"{path}/approve", {"comment": "fine"}, of=path)
    assert answer.status_code == 303
    assert answer.location == f"{path}?done=approved"
    assert "You have approved this. It takes 1 more" in said(one.client.get(path))
    assert LOSS not in said(one.client.get("/requests"))
    assert LOSS in said(other.client.get("/requests"))
    assert "You have approved" not in said(other.client.get(path))

    answer = send(other, f"{path}/approve", {"comment": ""}, of=path)
    assert answer.location == f"{path}?done=moved"
    assert api.stages(loss) == {1: "Production"}
    assert LOSS not in said(other.client.get("/requests"))


def test_move_is_refused_when_anything_is_other_than_was_shown(api: Driver) -> None:
    staged(api, 2)
    promoter = api.with_role("promoter")
    version = f"/models/{MODEL}/versions/1"
    path, form = f"{version}/move", {"to": "Archived", "reason": "old"}
    facts = shown(promoter.client.get(f"{path}?to=Archived"))
    tags = {"tags": {"owner": "risk"}}
    ops = {"url": "http://127.0.0.1:9/", "description": "ops"}
    changes: Mapping[str, Callable[[], TestResponse]] = {
        "Version 1 : has been changed": lambda: api.patch(version, tags),
        "Who is told : was nobody, is ops (": lambda: api.post("/webhooks", ops),
    }
    for what, change in changes.items():
        assert change().status_code < 300
        answer = promoter.client.post(path, data={**form, "shown": facts})
        assert what in said(answer, 412)
        facts = shown(answer)
    assert api.stages()[1] == "Staging"

    answer = promoter.client.post(path, data={**form, "shown": facts})
    assert answer.location == f"/models/{MODEL}/versions/1?done=moved"
    assert api.stages()[1] == "Archived"


@pytest.mark.parametrize(
    ("overtaken", "told"),
    [
        (lambda api: api.moved(2, "Production", model="prices"), "found version 2"),
        (
            lambda api: api.patch("/models/prices/versions/3", {"tags": {"a": "b"}}),
            "version 3 has changed since",
        ),
    ],
    ids=["another incumbent", "another version"],
)
def test_move_that_is_overtaken_after_the_look_is_refused_under_the_lock(
    api: Driver,
    monkeypatch: pytest.MonkeyPatch,
    overtaken: Callable[[Driver], object],
    told: str,
) -> None:
    api.ready_versions(3, "prices")
    for number in (1, 2, 3):
        api.moved(number, "Staging", model="prices")
    api.moved(1, "Production", model="prices")
    path = "/models/prices/versions/3/move?to=Production"
    promoter = api.with_role("promoter")
    form = {"to": "Production", "shown": shown(promoter.client.get(path))}

    def end() -> None:
        end_reading()
        overtaken(api)

    monkeypatch.setattr("registry.ui.moves.end_reading", end)
    answer = promoter.client.post(path.partition("?")[0], data=form)

    assert told in said(answer, 412)
    assert "Different from what you were shown" in said(answer, 412)
    assert api.stages("prices")[3] == "Staging"


def test_glass_and_requests_are_bound_under_the_lock_too(
    api: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged(api)
    checked(api, 1, "failed")
    version = f"/models/{MODEL}/versions/1"
    breaker, asker = api.with_role("break-glass"), api.with_role("writer")
    overtaking: list[Callable[[], object]] = []

    def end() -> None:
        end_reading()
        overtaking.pop()()

    monkeypatch.setattr("registry.ui.moves.end_reading", end)
    form = {"to": "Production", "reason": "down"}

    overtaking.append(lambda: checked(api, 1, "failed"))
    answer = send(breaker, move(1), {**form, "break_glass": "on"})
    assert "what the gates say has changed since" in said(answer, 412)

    overtaking.append(lambda: api.patch(version, {"tags": {"owner": "risk"}}))
    facts = shown(asker.client.get(move(1)))
    answer = asker.client.post(f"{version}/move/request", data={**form, "shown": facts})
    assert "version 1 has changed since" in said(answer, 412)

    assert api.stages() == {1: "Staging"}
    assert not api.read("/transition-requests?model=fraud")["items"]


@pytest.mark.parametrize("facts", ["", "{", "[]", "[" * 100_000, '{"its stage": 1}'])
def test_form_that_no_page_has_shown_moves_nothing(api: Driver, facts: str) -> None:
    staged(api)
    answer = api.client.post(
        f"/models/{MODEL}/versions/1/move", data={"to": "Archived", "shown": facts}
    )
    assert "Nothing was done" in said(answer, 412)
    assert api.stages() == {1: "Staging"}


def test_refusal_of_the_policy_is_shown_where_the_move_was_tried(api: Driver) -> None:
    api.ready_versions(1, "prices")
    path = "/models/prices/versions/1/move"
    answer = api.client.get(f"{path}?to=Production")
    assert "None to Production is not an allowed move" in said(answer)
    assert "Break the glass" not in said(answer)  # no way past the table of moves

    hidden = facts_without_a_form(api)
    for form in ({}, {"break_glass": "on", "reason": "now"}):
        answer = api.client.post(
            path, data={"to": "Production", "shown": hidden, **form}
        )
        assert "None to Production is not an allowed move" in said(answer, 409)
    assert api.stages("prices") == {1: "None"}


def facts_without_a_form(api: Driver) -> str:
    """What the page of a move shows that has no form to carry it."""
    facts = {
        "version 1": api.get("/models/prices/versions/1").headers["ETag"].strip('"'),
        "its stage": "None",
        "in Production": "nobody leaves",
        "the policy": api.parts.policy.digest[:12],
        "approvals that count": "0",
        "the request": "none",
        "who is told": "nobody",
    }
    return json.dumps(facts)


def test_reasons_and_comments_have_the_limit_of_the_api(api: Driver) -> None:
    staged(api, 2)
    path, request = move(2, "Archived"), requested(api)
    asker, approver = api.with_role("writer"), api.with_role("approver")
    too_long = {"reason": "x" * 20_001, "comment": "x" * 20_001}
    to = {"to": "Archived", **too_long}
    ask = f"{path.partition('?')[0]}/request"

    refused = [
        send(api, path, to),
        asker.client.post(ask, data={**to, "shown": shown(asker.client.get(path))}),
        send(approver, f"{request}/approve", too_long, of=request),
        approver.client.post(f"{request}/reject", data=too_long),
    ]

    for answer in refused:
        assert "must not have more than 20000 characters" in said(answer, 422)
    assert api.stages() == {1: "Staging", 2: "Staging"}
    assert api.read("/transition-requests?model=fraud&state=open")["items"]


def test_glass_is_broken_by_who_may_alone_and_with_a_reason(api: Driver) -> None:
    staged(api)
    checked(api, 1, "failed")
    breaker, promoter = api.with_role("break-glass"), api.with_role("promoter")
    form = {"to": "Production", "reason": "the site is down", "break_glass": "on"}
    path = move(1)

    text = said(breaker.client.get(path))
    assert "Check 'tests' has failed" in text
    assert "1 approval" in text
    assert "Break the glass" not in said(promoter.client.get(path))
    refused = promoter.client.post(
        path.partition("?")[0], data={**form, "shown": shown(breaker.client.get(path))}
    )
    assert refused.status_code in {403, 412}
    answer = send(breaker, path, {**form, "reason": " "})
    assert "say why the glass is broken" in said(answer, 422)

    answer = send(breaker, path, form)
    assert answer.status_code == 303
    assert api.stages() == {1: "Production"}


def test_glass_is_not_offered_for_a_rollback(api: Driver) -> None:
    api.ready_versions(2, "prices")
    for number in (1, 2):
        api.moved(number, "Staging", "Production", model="prices")
    held = api.put("/models/prices/holds/Production", json={"reason": "audit"})
    assert held.status_code == 200

    text = said(api.with_role("break-glass").client.get("/models/prices/rollback"))

    assert "audit" in text
    assert "Break the glass" not in text


def test_a_model_that_serves_is_rolled_back_however_long_ago_it_moved(
    tmp_path: Path, shared_apps: SharedApps
) -> None:
    policy = str(packaged_config("policy-open.toml"))
    app = shared_apps.lend(tmp_path, {"POLICY_FILE": policy})
    api = Driver(app, signed_in(app))
    api.ready_versions(33)
    api.moved(1, "Production")
    for number in range(2, 34):
        api.moved(number, "Archived")

    assert ">Roll back</a>" in api.client.get(f"/models/{MODEL}").text
    close_app(app)


def test_changed_artifact_is_told_on_the_page_of_the_move(
    api: Driver, tmp_path: Path
) -> None:
    api.ready_versions(1, "prices")
    path = "/models/prices/versions/1/move?to=Staging"
    facts = shown(api.client.get(path))
    (file,) = (tmp_path / "data" / "artifacts").resolve().rglob("model.bin")
    file.write_bytes(b"other weights")

    answer = api.client.post(
        path.partition("?")[0], data={"to": "Staging", "shown": facts}
    )

    assert "is not what was registered" in said(answer, 409)
    assert api.stages("prices") == {1: "None"}


def test_rollback_offers_no_version_that_was_deleted(api: Driver) -> None:
    api.ready_versions(3, "prices")
    for number in (1, 2, 3):
        api.moved(number, "Staging", "Production", model="prices")
    assert api.delete("/models/prices/versions/2").status_code == 204
    promoter = api.with_role("promoter")

    text = said(promoter.client.get("/models/prices/rollback"))
    assert "Choose the version to put back" in text
    assert "version 2 deleted since" in text
    assert "Choose version 2" not in text
    answer = send(
        promoter,
        "/models/prices/rollback?to=1",
        {"number": "1", "reason": "false positives"},
    )
    assert answer.location == "/models/prices/versions/1?done=moved"
    assert api.stages("prices") == {1: "Production", 3: "Archived"}


def test_names_of_endpoints_are_shown_to_all_and_led_to_for_admins(
    api: Driver,
) -> None:
    staged(api)
    webhook = document_of(
        api.post("/webhooks", {"url": "http://127.0.0.1:9/x", "description": "ops"})
    )
    path = move(1, "Archived")

    assert f'/webhooks/{webhook["id"]}"' in api.client.get(path).text
    seen = api.with_role("viewer").client.get(path)
    assert "Who will be told ops" in said(seen)
    assert webhook["id"] not in seen.text
    assert "127.0.0.1:9" not in seen.text


def test_pages_of_requests_go_on_where_one_ends(api: Driver) -> None:
    api.ready_versions(1, "one-1")
    promoter = api.with_role("promoter")
    for _ in range(27):
        request = asked(promoter.move(1, "Production", model="one-1"))
        promoter.post(f"/transition-requests/{request['id']}/cancel", {})

    first = api.client.get("/requests?show=past")
    (following,) = re.findall(r'href="([^"]*cursor=[^"]*)"', first.text)
    second = api.client.get(unescape(following))

    ids = [
        re.findall(r'href="/requests/(req_\w+)"', page.text) for page in (first, second)
    ]
    assert [len(each) for each in ids] == [25, 2]
    assert len({*ids[0], *ids[1]}) == 27
    assert said(api.client.get("/requests?show=past&model=other")).endswith(
        "No request has been closed yet"
    )
