"""Model versions: numbered, shown, described, listed, deleted."""

import pytest

from tests.integration.api.driver import MODEL, Driver, document_of, problem_of

VERSIONS = f"/models/{MODEL}/versions"


def test_version_is_answered_with_all_that_was_said_of_it(api: Driver) -> None:
    api.create_model()
    said = {
        "run_id": "r1",
        "git_commit": "abc",
        "description": "first",
        "tags": {"a": "1"},
        "params": {"depth": "3"},
        "metrics": {"accuracy": 0.5, "n": 3},
        "datasets": [{"name": "cards", "digest": "d1"}],
    }

    answer = api.post(VERSIONS, {**said, "source": "gs://store-example/m"})

    created = document_of(answer)
    assert answer.status_code == 201
    assert created == api.version(1)
    assert created.items() >= said.items()
    assert (
        created.items()
        >= {
            "model": MODEL,
            "version": 1,
            "stage": "None",
            "status": "READY",
            "status_message": "",
            "source": "gs://store-example/m",
            "verified": False,
            "artifact_digest": None,
            "artifact_size_bytes": None,
            "aliases": [],
            "created_by": "bootstrap",
        }.items()
    )


def test_version_without_a_source_waits_for_its_upload(api: Driver) -> None:
    api.create_model()

    api.register()

    assert api.version(1)["status"] == "PENDING_REGISTRATION"
    assert api.version(1)["source"].startswith("file://")


def test_numbers_run_without_gap_and_are_never_used_again(api: Driver) -> None:
    api.create_model()
    assert [api.register() for _ in range(3)] == [1, 2, 3]

    assert api.delete(f"{VERSIONS}/3").status_code == 204

    problem_of(api.get(f"{VERSIONS}/3"), 404, "not-found")
    assert api.register() == 4
    assert api.read(f"/models/{MODEL}")["latest_version"] == 4


def test_refused_registration_takes_no_number(api: Driver) -> None:
    api.create_model()

    refused = api.post(VERSIONS, {"tags": {"a//b": ""}})

    problem_of(refused, 422, "invalid")
    assert api.register() == 1


def test_number_of_each_model_is_its_own(api: Driver) -> None:
    for name in ("fraud", "churn"):
        api.create_model(name)

    assert [api.register("fraud"), api.register("churn")] == [1, 1]


def test_list_is_newest_first_and_paged(api: Driver) -> None:
    api.create_model()
    for _ in range(5):
        api.register()

    first = api.read(f"{VERSIONS}?limit=2")
    second = api.read(f"{VERSIONS}?limit=2&cursor={first['next_cursor']}")
    third = api.read(f"{VERSIONS}?limit=2&cursor={second['next_cursor']}")

    pages = [[v["version"] for v in page["items"]] for page in (first, second, third)]
    assert pages == [[5, 4], [3, 2], [1]]
    assert third["next_cursor"] is None


def test_list_of_one_stage_holds_those_versions_alone(api: Driver) -> None:
    api.ready_versions(3)
    api.moved(1, "Staging")
    api.moved(3, "Staging")

    staged = api.read(f"{VERSIONS}?stage=staging")["items"]

    assert [version["version"] for version in staged] == [3, 1]
    assert api.read(f"{VERSIONS}?stage=Production")["items"] == []
    problem_of(api.get(f"{VERSIONS}?stage=Nowhere"), 422, "invalid")
    problem_of(api.get(f"{VERSIONS}?stage="), 422, "invalid")


def test_model_without_versions_lists_none(api: Driver) -> None:
    api.create_model()

    assert api.read(VERSIONS) == {"items": [], "next_cursor": None}


def test_version_is_described_and_tagged(api: Driver) -> None:
    api.create_model()
    api.register(description="old", tags={"a": "1", "b": "2"})

    answer = api.patch(
        f"{VERSIONS}/1", {"description": "new", "tags": {"a": None, "c": "3"}}
    )

    assert answer.status_code == 200
    assert document_of(answer) == api.version(1)
    assert api.version(1)["description"] == "new"
    assert api.version(1)["tags"] == {"b": "2", "c": "3"}


def test_patch_leaves_what_it_does_not_name(api: Driver) -> None:
    api.create_model()
    api.register(description="kept", tags={"a": "1"})

    changed = document_of(api.patch(f"{VERSIONS}/1", {}))

    assert (changed["description"], changed["tags"]) == ("kept", {"a": "1"})


def test_entity_tag_changes_with_the_version_and_only_with_it(api: Driver) -> None:
    api.create_model()
    api.register()
    api.register()
    seen = api.get(f"{VERSIONS}/1").headers["ETag"]

    api.patch(f"{VERSIONS}/2", {"description": "other"})
    unchanged = api.get(f"{VERSIONS}/1", headers={"If-None-Match": seen})
    api.patch(f"{VERSIONS}/1", {"description": "new"})
    changed = api.get(f"{VERSIONS}/1", headers={"If-None-Match": seen})

    assert unchanged.status_code == 304
    assert unchanged.data == b""
    assert changed.status_code == 200
    assert changed.headers["ETag"] != seen


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_change_of_a_version_that_changed_since_is_refused(
    api: Driver, method: str
) -> None:
    api.create_model()
    api.register()
    seen = api.get(f"{VERSIONS}/1").headers["ETag"]
    api.patch(f"{VERSIONS}/1", {"description": "bob's"})

    stale = api.client.open(
        f"/api/v1{VERSIONS}/1", method=method, json={}, headers={"If-Match": seen}
    )

    problem = problem_of(stale, 412, "stale")
    assert api.get(f"{VERSIONS}/1").headers["ETag"] in problem["detail"]
    assert api.version(1)["description"] == "bob's"


@pytest.mark.parametrize("if_match", ["*", "present"])
def test_change_of_the_version_that_was_seen_is_made(
    api: Driver, if_match: str
) -> None:
    api.create_model()
    api.register()
    if if_match == "present":
        if_match = api.get(f"{VERSIONS}/1").headers["ETag"]

    answer = api.patch(
        f"{VERSIONS}/1", {"description": "new"}, headers={"If-Match": if_match}
    )

    assert answer.status_code == 200


@pytest.mark.parametrize("if_match", ['W/"weak"', '"a", "b"', "", ","])
def test_if_match_that_is_no_single_strong_tag_is_refused(
    api: Driver, if_match: str
) -> None:
    api.create_model()
    api.register()

    answer = api.patch(f"{VERSIONS}/1", {}, headers={"If-Match": if_match})

    problem = problem_of(answer, 422, "invalid")
    assert list(problem["errors"]) == ["If-Match"]


@pytest.mark.parametrize("stage", ["Staging", "Production"])
def test_version_in_use_is_not_deleted(api: Driver, stage: str) -> None:
    api.ready_versions(1)
    api.moved(1, *{"Staging": ["Staging"]}.get(stage, ["Staging", "Production"]))

    problem = problem_of(api.delete(f"{VERSIONS}/1"), 409, "conflict")

    assert f"version 1 is in {stage}" in problem["detail"]
    assert api.version(1)["stage"] == stage


def test_archived_version_is_deleted_with_its_aliases(api: Driver) -> None:
    api.ready_versions(1)
    api.moved(1, "Staging", "Archived")
    api.put(f"/models/{MODEL}/aliases/old", json={"version": 1})

    assert api.delete(f"{VERSIONS}/1").status_code == 204

    assert api.read(f"/models/{MODEL}")["aliases"] == {}
    problem_of(api.delete(f"{VERSIONS}/1"), 404, "not-found")
