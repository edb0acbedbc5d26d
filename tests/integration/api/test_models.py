"""Registered models: created, described, renamed, listed, deleted."""

import pytest

from tests.integration.api.driver import Driver, document_of, problem_of


def test_created_model_is_answered_and_found(api: Driver) -> None:
    answer = api.post(
        "/models", {"name": "fraud", "description": "cards", "tags": {"team": "risk"}}
    )

    created = document_of(answer)
    assert answer.status_code == 201
    assert created == api.read("/models/fraud")
    assert created == {
        "name": "fraud",
        "description": "cards",
        "tags": {"team": "risk"},
        "aliases": {},
        "stages": {},
        "latest_version": None,
        "holds": [],
        "created_at": created["created_at"],
        "created_by": "bootstrap",
        "updated_at": created["created_at"],
    }
    assert created["created_at"].endswith("Z")


def test_name_that_is_taken_is_refused(api: Driver) -> None:
    api.create_model("fraud")

    problem_of(api.post("/models", {"name": "fraud"}), 409, "conflict")


@pytest.mark.parametrize("name", ["Ünïcode 模型", "a b", "50%", "a+b&c=d?e#f", "..."])
def test_model_of_any_accepted_name_is_reached_by_its_url(
    api: Driver, name: str
) -> None:
    from urllib.parse import quote

    api.create_model(name)

    assert api.read(f"/models/{quote(name, safe='')}")["name"] == name


def test_two_spellings_of_one_name_reach_one_model(api: Driver) -> None:
    api.create_model("\u00fcber")

    problem_of(api.post("/models", {"name": "u\u0308ber"}), 409, "conflict")
    assert api.read("/models/u%CC%88ber")["name"] == "\u00fcber"


def test_model_names_the_versions_in_use_by_stage(api: Driver) -> None:
    api.ready_versions(4)
    api.moved(1, "Staging", "Production")
    api.moved(3, "Staging")
    api.moved(2, "Staging")

    found = api.read("/models/fraud")

    assert found["stages"] == {"Production": [1], "Staging": [2, 3]}
    assert found["latest_version"] == 4


def test_absent_model_is_not_found(api: Driver) -> None:
    for answer in (
        api.get("/models/absent"),
        api.get("/models/absent/versions"),
        api.get("/models/absent/history"),
        api.get("/models/absent/stages/Production"),
        api.patch("/models/absent", {}),
        api.delete("/models/absent"),
        api.post("/models/absent/versions", {}),
        api.rollback("absent"),
        api.move(1, "Staging", model="absent"),
        api.get("/audit/verify?model=absent"),
    ):
        problem_of(answer, 404, "not-found")


def test_model_is_described_and_tagged_and_a_tag_of_null_is_removed(
    api: Driver,
) -> None:
    created = api.create_model(description="old", tags={"a": "1", "b": "2"})

    answer = api.patch(
        "/models/fraud", {"description": "new", "tags": {"a": None, "b": "3", "c": ""}}
    )

    changed = document_of(answer)
    assert answer.status_code == 200
    assert changed["description"] == "new"
    assert changed["tags"] == {"b": "3", "c": ""}
    assert changed["updated_at"] >= created["updated_at"]
    assert changed == api.read("/models/fraud")


def test_members_that_are_not_named_stay_as_they_are(api: Driver) -> None:
    api.create_model(description="kept", tags={"a": "1"})

    changed = document_of(api.patch("/models/fraud", {}))

    assert changed["description"] == "kept"
    assert changed["tags"] == {"a": "1"}


def test_renamed_model_keeps_its_versions_history_and_chain(api: Driver) -> None:
    api.ready_versions(1)
    api.serve(1)

    answer = api.patch("/models/fraud", {"name": "card-fraud"})

    assert document_of(answer)["name"] == "card-fraud"
    problem_of(api.get("/models/fraud"), 404, "not-found")
    assert api.read("/models/card-fraud/stages/Production")["version"] == 1
    assert len(api.read("/models/card-fraud/history")["items"]) == 2
    assert len({entry["chain"] for entry in api.audit() if entry["model"]}) == 1


def test_model_cannot_take_the_name_of_another(api: Driver) -> None:
    api.create_model("fraud")
    api.create_model("churn")

    answer = api.patch("/models/churn", {"name": "fraud", "description": "new"})

    problem_of(answer, 409, "conflict")
    assert api.read("/models/churn")["description"] == ""


def test_deleted_model_is_gone_and_its_name_is_free(api: Driver) -> None:
    api.ready_versions(2)

    answer = api.delete("/models/fraud")

    assert answer.status_code == 204
    assert answer.data == b""
    problem_of(api.get("/models/fraud"), 404, "not-found")
    problem_of(api.get("/models/fraud/versions/1"), 404, "not-found")
    api.create_model("fraud")
    assert api.register("fraud") == 1


def test_model_with_a_version_in_use_is_not_deleted(api: Driver) -> None:
    api.ready_versions(2)
    api.moved(1, "Staging")

    problem = problem_of(api.delete("/models/fraud"), 409, "conflict")

    assert "versions 1 are in use" in problem["detail"]
    assert "Archived, None" in problem["detail"]
    assert api.read("/models/fraud")["latest_version"] == 2


def test_list_is_sorted_by_name_and_paged_without_gap_or_repeat(api: Driver) -> None:
    names = ["a", "b", "c", "d", "\U0001f600"]
    for name in reversed(names):
        api.create_model(name)

    listed: list[str] = []
    cursor, pages = "", 0
    while True:
        page = api.read(f"/models?limit=2{cursor}")
        listed += [item["name"] for item in page["items"]]
        pages += 1
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"

    assert listed == names
    assert pages == 3


def test_model_created_behind_the_cursor_shows_on_the_next_page(api: Driver) -> None:
    for name in ("a", "b", "d"):
        api.create_model(name)

    first = api.read("/models?limit=2")
    api.create_model("c")
    second = api.read(f"/models?limit=2&cursor={first['next_cursor']}")

    assert [item["name"] for item in second["items"]] == ["c", "d"]
    assert second["next_cursor"] is None


def test_longest_name_makes_a_cursor_that_is_taken_back(api: Driver) -> None:
    longest = "\U0001f600" * 256
    for name in (longest, "\U0001f601"):
        api.create_model(name)

    first = api.read("/models?limit=1")
    second = api.read(f"/models?limit=1&cursor={first['next_cursor']}")

    assert [item["name"] for item in second["items"]] == ["\U0001f601"]
