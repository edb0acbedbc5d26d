"""The page of a version: what it shows, to whom, and what may be changed there."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from flask import Flask

from tests.integration.api.driver import (
    MODEL,
    ON_BOTH_DATABASES,
    Driver,
    document_of,
)
from tests.integration.api.gated import (
    approved,
    asked,
    checked,
    ci_job,
    decided,
    gated_policy,
    staged,
)
from tests.integration.conftest import SharedApps, close_app
from tests.integration.statements import statements_of
from tests.integration.ui.reading import gone_on, hidden, read, said, section, send

ONE = f"/models/{MODEL}/versions/1"
RUN = "https://ci.example.com/runs/7"
SIGNATURE = b"""flavors: {}
signature:
  inputs: '[{"type": "double", "name": "amount", "required": true}]'
  outputs: null
"""


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("policy") / "policy.toml"
    bound = '\n[[override.aliases]]\nname = "live"\nstage = "Production"\n'
    rules = gated_policy().replace(
        '\n[[override]]\nmodels = "loss', bound + '\n[[override]]\nmodels = "loss'
    )
    file.write_text(rules)
    return file


@pytest.fixture
def app(
    tmp_path: Path, policy: Path, database: dict[str, str], shared_apps: SharedApps
) -> Iterator[Flask]:
    app = shared_apps.lend(tmp_path, {"POLICY_FILE": str(policy), **database})
    yield app
    assert "Current Checked out connections: 0" in close_app(app)


def files_of(api: Driver, number: int, model: str = MODEL) -> Path:
    """Where the files of a version lie."""
    return Path(unquote(urlsplit(api.version(number, model)["source"]).path))


def test_page_shows_what_is_known_of_a_version(api: Driver) -> None:
    api.create_model()
    api.register(
        params={"depth": "6"},
        metrics={"auc": 0.93125},
        datasets=[{"name": "october", "digest": "d1", "source": "s3://lake/october"}],
        run_id="3f2a",
        run_link="https://mlflow.example.com/#/runs/3f2a",
        git_commit="4b825dc642cb",
        description="Trained on October",
        tags={"team": "risk"},
    )
    api.upload(1, {"MLmodel": SIGNATURE, "model.bin": b"weights"})
    api.put(f"/models/{MODEL}/aliases/champion", json={"version": 1})

    page = read(api, ONE)

    assert "Trained on October" in section(page, "description")
    assert "depth 6" in section(page, "params")
    assert "auc 0.93125" in section(page, "metrics")
    assert "october d1 s3://lake/october" in section(page, "datasets")
    assert "amount double inputs" in section(page, "schema")
    assert "MLmodel 108 B" in section(page, "files")
    assert "model.bin 7 B" in section(page, "files")
    assert "✓ verified" in section(page, "artifact")
    assert "@champion" in section(page, "aliases")
    assert "team risk" in section(page, "tags")
    facts = section(page, "facts")
    assert "Run 3f2a" in facts
    assert "4b825dc642cb" in facts
    assert 'href="https://mlflow.example.com/#/runs/3f2a"' in page
    assert f'href="/api/v1{ONE}/artifacts/model.bin"' in page


@ON_BOTH_DATABASES
def test_each_change_is_told_from_request_to_deployment(api: Driver) -> None:
    staged(api)
    url = "http://127.0.0.1:9/hook"
    api.post("/webhooks", {"url": url})
    job, approver = ci_job(api, run_url=RUN), api.with_role("approver")
    rejected = asked(job.move(1, "Production", reason="too soon"))
    decided(approver, rejected, "reject", "not today")
    request = asked(job.move(1, "Production", reason="better"))
    transition = approved(approver, request)["transition"]["transition_id"]
    (delivery,) = api.read(f"/deliveries?transition_id={transition}")["items"]
    deployed = {
        "status": "succeeded",
        "environment": "eu",
        "delivery_id": delivery["id"],
    }
    report = {**deployed, "url": "https://deploy.example.com/1"}
    assert (
        api.post(f"/models/{MODEL}/versions/1/deployments", report).status_code == 200
    )

    page = read(api, ONE)

    history = section(page, "history")
    last, before, *_ = history.split("Production")[1:]
    assert "promotion" in last
    for step in (
        "better",
        "Requested by p1",
        "Approved by a approver",
        "Committed by a approver",
        "Delivered 0 of 1",
        "Deployed eu: succeeded",
    ):
        assert step in last, step
    assert "asked for" in before
    assert "Rejected by a approver" in before
    assert "Registered" in before
    assert f'href="/requests/{request["id"]}"' in page
    assert f'href="/audit?transition={transition}"' in page
    assert f'href="/deliveries?transition={transition}"' in page
    assert f'href="{RUN}"' in page
    assert 'href="https://deploy.example.com/1"' in page


@ON_BOTH_DATABASES
def test_versions_that_changed_places_are_named(api: Driver) -> None:
    api.ready_versions(2, "churn")
    for number in (1, 2):
        api.moved(number, "Staging", "Production", model="churn")

    first = section(read(api, "/models/churn/versions/1"), "history")
    second = section(read(api, "/models/churn/versions/2"), "history")

    assert "superseded" in first
    assert "made room for version 2" in first
    assert "in place of version 1" in second


def test_next_stages_have_their_gates(api: Driver) -> None:
    api.ready_versions(1)
    api.moved(1, "Staging")
    checked(api, 1, "failed")

    following = section(read(api, ONE), "next")

    assert "✕ does not pass 0 of 1 approval" in following
    assert "✓ passed Registration complete" in following
    assert "✕ failed Check tests \N{EN DASH} check 'tests' has failed" in following
    assert "□ Archived ✓ may move" in following


def test_long_history_goes_on_behind_its_window(api: Driver) -> None:
    api.ready_versions(1)
    for _ in range(11):
        api.moved(1, "Staging", "Archived")

    page = read(api, ONE)
    older = read(api, f"{ONE}?below=4")

    assert section(page, "history").count("Committed") == 20
    assert f'href="{ONE}?below=4#history"' in page
    history = section(older, "history")
    assert history.count("Committed") == 2
    assert "Registered" in history
    assert f'href="{ONE}#history"' in older


@pytest.mark.parametrize("below", ["0", "-1", "x", "", f"-1{'0' * 30}", "9" * 30])
def test_history_that_nobody_has_is_empty_or_the_newest(
    api: Driver, below: str
) -> None:
    api.ready_versions(1)

    assert section(read(api, f"{ONE}?below={below}"), "history")


def test_who_may_only_read_is_offered_nothing_else(api: Driver) -> None:
    api.ready_versions(1)
    viewer = api.with_role("viewer")

    page = read(viewer, ONE)

    assert "<form method" not in page
    assert 'method="post"' not in page
    assert "/move" not in page
    for what in ("description", "tags", "aliases", "verify", "delete"):
        assert send(viewer, f"{ONE}/{what}", {}).status_code == 403


@ON_BOTH_DATABASES
def test_description_is_changed_as_it_was_shown(api: Driver) -> None:
    api.ready_versions(1)
    shown = {"etag": hidden(read(api, ONE), "etag")}

    changed = send(api, f"{ONE}/description", {**shown, "description": "a\r\nb"})
    stale = send(api, f"{ONE}/description", {**shown, "description": "<b>mine</b>"})

    assert gone_on(changed) == f"{ONE}?done=description"
    assert "The description is saved." in said(read(api, f"{ONE}?done=description"))
    assert api.version(1)["description"] == "a\nb"
    assert stale.status_code == 412
    assert "has changed since" in said(stale.text)
    assert "&lt;b&gt;mine&lt;/b&gt;</textarea>" in stale.text
    assert api.audit(MODEL)[-1]["action"] == "model_version.updated"


def test_description_has_the_limit_of_the_api(api: Driver) -> None:
    api.ready_versions(1)
    form = {"etag": hidden(read(api, ONE), "etag"), "description": "x" * 20_001}

    refused = send(api, f"{ONE}/description", form)

    assert refused.status_code == 422
    assert "must not have more than 20000 characters" in said(refused.text)
    assert api.version(1)["description"] == ""


def test_form_that_does_not_say_what_it_was_made_for_is_out_of_date(
    api: Driver,
) -> None:
    api.ready_versions(1)

    assert send(api, f"{ONE}/tags", {"key": "a", "value": "b"}).status_code == 412
    assert api.version(1)["tags"] == {}


def test_tags_are_set_and_removed(api: Driver) -> None:
    api.ready_versions(1)

    def change(**form: str) -> str:
        etag = hidden(read(api, ONE), "etag")
        return gone_on(send(api, f"{ONE}/tags", {"etag": etag, **form}))

    assert change(key=" team ", value="risk") == f"{ONE}?done=tags"
    change(key="team", value="fraud")
    change(key="note", value="")
    assert api.version(1)["tags"] == {"team": "fraud", "note": ""}
    change(remove="team")
    assert api.version(1)["tags"] == {"note": ""}

    etag = hidden(read(api, ONE), "etag")
    refused = send(api, f"{ONE}/tags", {"etag": etag, "key": "k" * 300, "value": "v"})
    assert refused.status_code == 422
    assert "k" * 300 in refused.text


def test_aliases_are_pointed_here_and_removed(api: Driver) -> None:
    api.ready_versions(2)

    assert gone_on(send(api, f"{ONE}/aliases", {"alias": "best"})).endswith(
        "done=aliases"
    )
    assert api.version(1)["aliases"] == ["best"]
    send(api, f"/models/{MODEL}/versions/2/aliases", {"alias": "best"})
    stale = send(api, f"{ONE}/aliases", {"remove": "best"})
    assert stale.status_code == 412
    assert api.version(2)["aliases"] == ["best"]
    send(api, f"/models/{MODEL}/versions/2/aliases", {"remove": "best"})
    assert api.version(2)["aliases"] == []


def test_alias_that_must_be_approved_leads_to_its_request(api: Driver) -> None:
    staged(api)
    promoter = api.with_role("promoter")

    to = gone_on(send(promoter, f"{ONE}/aliases", {"alias": "live"}))

    (request,) = api.read("/transition-requests")["items"]
    assert to == f"/requests/{request['id']}"


def test_alias_that_is_bound_to_a_stage_points_at_who_is_in_it(api: Driver) -> None:
    api.ready_versions(2, "churn")
    api.moved(1, "Staging", "Production", model="churn")

    first, second = (read(api, f"/models/churn/versions/{n}") for n in (1, 2))

    assert "@production by its stage" in section(first, "aliases")
    assert "None points here." in section(second, "aliases")


def test_artifact_is_verified_when_asked(api: Driver) -> None:
    api.ready_versions(1)
    file = files_of(api, 1) / "model.bin"

    assert gone_on(send(api, f"{ONE}/verify", {})) == f"{ONE}?done=verify"
    file.chmod(0o600)
    file.write_bytes(b"other")
    found = send(api, f"{ONE}/verify", {})

    assert found.status_code == 409
    assert "is not what was registered" in said(found.text)
    assert "✕ changed" in section(found.text, "artifact")
    assert "✕ changed" in section(read(api, ONE), "artifact")


def test_version_is_deleted_once_that_is_confirmed(api: Driver) -> None:
    api.ready_versions(1)
    etag = hidden(read(api, ONE), "etag")

    unconfirmed = send(api, f"{ONE}/delete", {"etag": etag})
    stale = send(api, f"{ONE}/delete", {"etag": "other", "confirm": "yes"})
    assert (unconfirmed.status_code, stale.status_code) == (422, 412)
    assert api.version(1)["version"] == 1

    done = send(api, f"{ONE}/delete", {"etag": etag, "confirm": "yes"})
    assert gone_on(done) == f"/models/{MODEL}?done=version-deleted"
    assert api.get(f"/models/{MODEL}/versions/1").status_code == 404
    assert "There is no" not in read(api, ONE, 404)


def test_version_that_the_policy_protects_is_not_offered_for_deletion(
    api: Driver,
) -> None:
    api.ready_versions(1, "churn")
    api.moved(1, "Staging", "Production", model="churn")
    path = "/models/churn/versions/1"

    page = read(api, path)
    etag = hidden(page, "etag")
    refused = send(api, f"{path}/delete", {"etag": etag, "confirm": "yes"})

    assert "The policy protects versions in Production" in section(page, "delete")
    assert refused.status_code == 409


def test_what_others_wrote_is_never_markup_nor_a_link_that_runs(api: Driver) -> None:
    text = "<script>alert(1)</script>"
    model = "<script>'\"&"
    api.create_model(model)
    path = "/models/%3Cscript%3E'%22&"
    api.register(
        "%3Cscript%3E'%22&",
        source=f"s3://elsewhere/{text}",
        run_id=text,
        run_link="javascript:alert(1)",
        description=text,
        tags={"note": text},
        params={text: text},
        metrics={text: 1},
        datasets=[{"name": text, "digest": text, "source": text}],
    )
    api.put(f"{path}/aliases/%22%3E%3Cscript%3E", json={"version": 1})

    page = read(api, f"{path}/versions/1")

    assert text in said(page)
    assert page.count("<script") == 1  # ours
    assert "javascript:" not in page


def test_page_that_did_not_change_is_not_sent_again(api: Driver) -> None:
    api.ready_versions(1)
    tag = api.client.get(ONE).headers["ETag"]

    assert api.client.get(ONE, headers={"If-None-Match": tag}).status_code == 304
    api.patch(f"/models/{MODEL}/versions/1", {"description": "new"})
    assert api.client.get(ONE, headers={"If-None-Match": tag}).status_code == 200


def test_page_is_shown_without_what_the_store_does_not_tell(api: Driver) -> None:
    api.create_model()
    api.register()
    api.upload(1, {"MLmodel": SIGNATURE + b"# once\n"})
    (files_of(api, 1) / "MLmodel").unlink()

    page = read(api, ONE)

    assert 'aria-labelledby="schema"' not in page
    assert "MLmodel" in section(page, "files")


def test_prompt_shows_its_template_and_no_stages(api: Driver) -> None:
    tags = {"mlflow.prompt.is_prompt": "true"}
    api.create_model("greeting", tags=tags)
    api.register(
        "greeting",
        source="prompt-template",
        tags={**tags, "mlflow.prompt.text": "Hello {{ name }}", "tone": "kind"},
    )

    page = read(api, "/models/greeting/versions/1")

    assert "Hello {{ name }}" in section(page, "template")
    assert "tone kind" in section(page, "tags")
    assert "is_prompt" not in page
    assert 'aria-labelledby="next"' not in page


@ON_BOTH_DATABASES
def test_statements_do_not_grow_with_what_a_version_has(
    app: Flask, api: Driver
) -> None:
    api.ready_versions(2)
    job, approver = ci_job(api, run_url=RUN), api.with_role("approver")
    for number in (1, 2):
        api.moved(number, "Staging")
        checked(api, number)
    requests = [asked(job.move(1, "Production"))]
    decided(approver, requests[0], "reject")
    two = f"/models/{MODEL}/versions/2"
    read(api, two)
    approved(approver, asked(job.move(2, "Production")))
    with statements_of(app) as few:
        read(api, two)
    for stage in ("Archived", "Staging") * 4:
        api.moved(2, stage)
    approved(approver, asked(job.move(2, "Production")))
    for place in range(30):
        report = {"status": "succeeded", "environment": f"place {place}"}
        api.post(f"/models/{MODEL}/versions/2/deployments", report)
        api.put(f"/models/{MODEL}/aliases/a{place}", json={"version": 2})
        api.post(
            f"/models/{MODEL}/versions/2/checks",
            {"name": f"c{place}", "status": "passed"},
        )
    with statements_of(app) as many:
        read(api, two)

    assert len(many) == len(few) <= 20
    assert document_of(api.get(f"/models/{MODEL}/versions/2"))["stage"] == "Production"
