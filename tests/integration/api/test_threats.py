"""Threats to whoever promotes by a credential, each named as in the list of threats.

T1 and T2 (proxies), T3 to T5 (signed tokens), T7 (approvals) and T15 (browsers) have
tests where they are; here are those that need nothing but the API.
"""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from registry.domain.token_format import is_well_formed
from tests.integration.api.driver import (
    MODEL,
    ON_BOTH_DATABASES,
    Driver,
    document_of,
    problem_of,
)


def texts_of(dump: object) -> Iterator[str]:
    """Every text in what is stored."""
    if isinstance(dump, dict):
        dump = [*dump.values()]
    if isinstance(dump, list | tuple):
        for part in dump:
            yield from texts_of(part)
    else:
        yield str(dump)


def test_t6_a_copy_of_the_database_holds_no_token_that_works(api: Driver) -> None:
    made = document_of(api.post("/tokens", {"name": "ci", "role": "promoter"}))

    stored = [*texts_of(api.dump())]

    assert is_well_formed(made["token"])
    assert [text for text in stored if made["token"] in text] == []
    digests = [*texts_of(api.dump()["tokens"])]
    used = [api.with_secret(text).get("/whoami").status_code for text in digests]
    assert set(used) == {401}


def test_t6_a_token_ends_at_its_next_request_and_in_any_case_within_a_year(
    api: Driver,
) -> None:
    for_ever = {"name": "ci", "role": "viewer", "expires_in_days": 366}
    problem_of(api.post("/tokens", for_ever), 422, "invalid")
    made = document_of(api.post("/tokens", {"name": "ci", "role": "viewer"}))
    bearer = api.with_secret(made["token"])
    assert made["expires_at"] is not None
    assert bearer.get("/models").status_code == 200

    api.delete(f"/tokens/{made['id']}")

    problem_of(bearer.get("/models"), 401, "unauthenticated")


@ON_BOTH_DATABASES
def test_t8_of_two_jobs_at_once_one_promotes_and_a_stale_one_does_not(
    api: Driver,
) -> None:
    api.ready_versions(3)
    api.serve(1)
    api.moved(2, "Staging")
    api.moved(3, "Staging")
    ready = api.with_role("promoter"), api.with_role("promoter")

    def promote(job: Driver, number: int) -> int:
        return job.move(number, "Production", expected_incumbent=1).status_code

    with ThreadPoolExecutor(2) as jobs:
        statuses = [*jobs.map(promote, ready, (2, 3))]

    assert sorted(statuses) == [200, 412]
    winner = 2 + statuses.index(200)
    assert api.read(f"/models/{MODEL}/stages/Production")["version"] == winner


def test_t11_no_credential_is_logged_or_exported(
    api: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    made = document_of(api.post("/tokens", {"name": "ci", "role": "writer"}))
    hook = {"url": "http://127.0.0.1:9", "headers": {"x-key": "canary-header"}}
    secret = document_of(api.post("/webhooks", hook))["secret"]
    bearer = api.with_secret(made["token"])
    bearer.get("/tokens")  # refused, and logged as such
    api.with_secret("canary-unknown").get("/models")
    bearer.client.get(
        "/api/v1/models", headers={"Authorization": "Basic Y2FuYXJ5OmNhbmFyeQ=="}
    )

    exported = api.get("/audit/export").get_data(as_text=True)
    of_a_viewer = api.with_role("viewer").get("/audit/export").get_data(as_text=True)

    secrets = [made["token"], secret, "canary-unknown", "Y2FuYXJ5", "canary-header"]
    said = caplog.text + exported + of_a_viewer
    assert [each for each in secrets if each in said] == []
    assert "127.0.0.1" not in of_a_viewer.replace("http://127.0.0.1:9", "")
