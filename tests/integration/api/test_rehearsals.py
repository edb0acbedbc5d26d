"""``POST /rehearsals``: what would become of changes, and no change."""

import pytest

from tests.integration.api.driver import (
    MODEL,
    ON_BOTH_DATABASES,
    Document,
    Driver,
    document_of,
    problem_of,
)
from tests.integration.api.mutations import VERSIONS, prepare
from tests.integration.api.test_transitions import artifact_file, overwrite

ELSEWHERE = "gs://store-example/m"


def rehearsed(api: Driver, name: str, **changes: object) -> Document | None:
    """The version as it would be; nothing may have changed."""
    before = api.dump()
    answer = api.post("/rehearsals", {"name": name, **changes})
    assert answer.status_code == 200, answer.get_data(as_text=True)
    assert api.dump() == before
    version: Document | None = document_of(answer)["version"]
    return version


@ON_BOTH_DATABASES
def test_rehearsal_answers_as_the_changes_would_and_leaves_nothing_behind(
    api: Driver,
) -> None:
    prepare(api)

    created = rehearsed(api, "churn", model={"description": "x", "tags": {"a": "b"}})
    registered = rehearsed(
        api,
        "churn",
        version={"source": ELSEWHERE, "tags": {"a": "b"}},
        through=["Staging", "Production"],
        aliases=["champion"],
    )
    moved = rehearsed(api, MODEL, number=3, through=["Staging", "Production"])
    changed = rehearsed(
        api,
        MODEL,
        model={"description": "y"},
        number=1,
        changes={"description": "z", "tags": {"c": None}},
    )

    assert created is None
    assert registered is not None
    assert (registered["version"], registered["stage"]) == (1, "Production")
    assert registered["tags"] == {"a": "b"}
    assert moved is not None
    assert (moved["version"], moved["stage"]) == (3, "Production")
    assert changed is not None
    assert changed["description"] == "z"
    assert api.stages()[2] == "Production"


@ON_BOTH_DATABASES
def test_what_would_be_refused_is_refused_in_the_same_words(api: Driver) -> None:
    prepare(api)
    attempts: list[tuple[Document, str, Document]] = [
        ({"version": {"source": "http://h/m"}}, VERSIONS, {"source": "http://h/m"}),
        ({"version": {"tags": {"": "x"}}}, VERSIONS, {"tags": {"": "x"}}),
        (
            {"number": 3, "through": ["Production"]},
            f"{VERSIONS}/3/transitions",
            {"to_stage": "Production"},
        ),
        (
            {"number": 99, "through": ["Staging"]},
            f"{VERSIONS}/99/transitions",
            {"to_stage": "Staging"},
        ),
        (
            {"version": {"source": f"models:/{MODEL}/99"}},
            VERSIONS,
            {"source": f"models:/{MODEL}/99"},
        ),
    ]
    before = api.dump()

    for changes, path, body in attempts:
        told = api.post("/rehearsals", {"name": MODEL, **changes})
        done = api.post(path, body)

        assert told.status_code == done.status_code >= 400
        for member in ("type", "reasons", "allowed"):
            assert document_of(told).get(member) == document_of(done).get(member)
    assert api.dump() == before


@pytest.mark.parametrize("name", ["", "a/b", "a\tb", "x" * 257])
def test_name_that_no_model_may_have_is_refused(api: Driver, name: str) -> None:
    problem_of(api.post("/rehearsals", {"name": name}), 422, "invalid")


def test_artifact_that_has_changed_is_found_and_not_marked(api: Driver) -> None:
    api.ready_versions(1)
    overwrite(artifact_file(api, 1), b"v9")
    before = api.dump()

    told = api.post("/rehearsals", {"name": MODEL, "number": 1, "through": ["Staging"]})

    problem_of(told, 409, "artifact-changed")
    assert api.dump() == before


def test_what_is_still_to_be_hashed_is_not_moved_in_a_rehearsal(
    api: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.ready_versions(1)
    source = str(api.version(1)["source"])
    monkeypatch.setattr("registry.services.artifacts.INLINE_FILES", 0)

    version = rehearsed(api, MODEL, version={"source": source}, through=["Production"])

    assert version is not None
    assert (version["status"], version["stage"]) == ("PENDING_REGISTRATION", "None")


def test_rehearsing_takes_the_role_that_moves_take(api: Driver) -> None:
    writer = api.with_role("writer")

    problem_of(writer.post("/rehearsals", {"name": MODEL}), 403, "forbidden")


def test_alias_that_is_bound_to_a_stage_is_rehearsed_as_the_move_that_it_is(
    api: Driver,
) -> None:
    api.ready_versions(2)
    api.serve(1)

    moved = rehearsed(api, MODEL, number=2, through=["Staging"], aliases=["production"])
    staged = rehearsed(api, MODEL, number=2, aliases=["staging", "best"])

    assert [version and version["stage"] for version in (moved, staged)] == [
        "Production",
        "Staging",
    ]
    refused = api.post(
        "/rehearsals", {"name": MODEL, "number": 2, "aliases": ["production"]}
    )
    problem_of(refused, 409, "transition-refused")


def test_bound_alias_of_what_is_still_to_be_hashed_is_not_set_in_a_rehearsal(
    api: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.ready_versions(1)
    source = str(api.version(1)["source"])
    monkeypatch.setattr("registry.services.artifacts.INLINE_FILES", 0)

    version = rehearsed(
        api, MODEL, version={"source": source}, aliases=["staging", "best"]
    )

    assert version is not None
    assert (version["status"], version["stage"]) == ("PENDING_REGISTRATION", "None")


def test_bound_alias_of_a_crowded_stage_is_rehearsed_in_no_parts(
    api: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.ready_versions(2)
    api.serve(1)
    api.moved(2, "Staging")
    monkeypatch.setattr("registry.domain.commands.moves.MAX_LEAVING", 0)

    assert rehearsed(api, MODEL, number=2, aliases=["production"]) is None
