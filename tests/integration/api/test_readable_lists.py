"""Lists leave out the models that somebody may not read, and their pages stay full."""

import json
from fnmatch import fnmatchcase

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import literal, select

from registry.domain.audit_export import verify_export
from registry.persistence.readable import is_readable, readable_values
from tests.integration.api.driver import ON_BOTH_DATABASES, Document, Driver

NAMES = [f"{team}-{n}" for n in range(4) for team in ("fraud", "churn")]
FRAUD = [name for name in sorted(NAMES) if name.startswith("fraud")]
MLFLOW = "/api/2.0/mlflow"
HELD: dict[str, Document] = {
    "by its role": {"role": "reader", "models": "fraud-*"},
    "by its scopes": {"role": "admin", "scopes": ["read:fraud-?", "write:fraud-1"]},
    "by both": {"role": "writer", "models": "*-?", "scopes": ["read:fraud*"]},
}
by_what = pytest.mark.parametrize("members", HELD.values(), ids=HELD)


@pytest.fixture
def filled(api: Driver) -> Driver:
    """Models of two teams, a version in each."""
    for name in NAMES:
        api.ready_versions(1, name)
    return api


def pages(caller: Driver, path: str, items: str, asks: str) -> list[Document]:
    """Every item of a list, read two at a time; all pages but the last are full."""
    found: list[Document] = []
    following = ""
    while True:
        answer = caller.client.get(path + following)
        assert answer.status_code == 200, answer.get_data(as_text=True)
        document = answer.get_json()
        found += document.get(items, [])
        token = document.get(f"next_{asks}")
        if not token:
            return found
        assert len(document[items]) == 2
        following = f"&{asks}={token}"


@ON_BOTH_DATABASES
@by_what
def test_models_that_may_not_be_read_are_in_no_list(
    filled: Driver, members: Document
) -> None:
    caller = filled.with_token(**members)

    models = pages(caller, "/api/v1/models?limit=2", "items", "cursor")
    searched = pages(
        caller,
        f"{MLFLOW}/registered-models/search?max_results=2",
        *("registered_models", "page_token"),
    )
    versions = pages(
        caller,
        f"{MLFLOW}/model-versions/search?max_results=2",
        *("model_versions", "page_token"),
    )

    assert [model["name"] for model in models] == FRAUD
    assert [model["name"] for model in searched] == FRAUD
    assert sorted(version["name"] for version in versions) == FRAUD


@ON_BOTH_DATABASES
@by_what
def test_audit_log_and_events_show_models_that_may_be_read_alone(
    filled: Driver, members: Document
) -> None:
    caller = filled.with_token(**members)

    entries = pages(caller, "/api/v1/audit?limit=2", "items", "cursor")
    events = caller.read("/events?limit=200")["items"]

    assert {entry["model"] for entry in entries} == set(FRAUD)
    assert len(entries) == sum(len(filled.audit(name)) for name in FRAUD)
    assert {event["data"]["model"]["name"] if isinstance(event["data"]["model"], dict)
            else event["data"]["model"] for event in events} == set(FRAUD)  # fmt: skip
    everything = filled.read("/events?limit=200")["items"]
    assert len(events) * 2 == len(everything)
    for foreign in ("churn-1", "system"):
        assert caller.read(f"/audit?model={foreign}")["items"] == []
        assert caller.read(f"/events?model={foreign}")["items"] == []
    assert caller.read("/audit?model=fraud-1")["items"] != []


@ON_BOTH_DATABASES
@by_what
def test_export_holds_the_chains_of_models_that_may_be_read_and_verifies(
    filled: Driver, members: Document
) -> None:
    with filled.with_token(**members).get("/audit/export") as answer:
        lines = answer.get_data(as_text=True).splitlines()

    report = verify_export(lines)
    assert (report.ok, report.chains) == (True, len(FRAUD))
    assert report.limits.startswith("This export is of some models:")
    assert not any("churn" in line or '"chain":"system"' in line for line in lines)


def test_renamed_model_is_read_by_its_new_name_with_all_that_it_was(
    filled: Driver,
) -> None:
    reader = filled.with_token(role="reader", models="fraud-*")

    filled.patch("/models/churn-1", {"name": "fraud-9"})

    entries = reader.read("/audit?model=churn-1")["items"]
    assert [json.loads(entry["entry"])["action"] for entry in entries]
    assert reader.get("/models/churn-1").status_code == 403


@ON_BOTH_DATABASES
def test_name_matches_in_the_database_as_it_does_here(api: Driver) -> None:
    characters = "aB%_\\*?é.!^-"
    texts = st.text(characters, min_size=1, max_size=8)
    lists = st.lists(texts, max_size=3)

    @settings(
        max_examples=150,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(name=texts, sets=st.lists(lists, min_size=1, max_size=2))
    def same(name: str, sets: list[list[str]]) -> None:
        expected = all(any(fnmatchcase(name, p) for p in one) for one in sets)
        with api.engine.connect() as cx:
            statement = select(is_readable(literal(name)))
            found = cx.scalar(statement, readable_values(sets))
        assert bool(found) is expected

    same()
