"""Rollback: to the version that served before, by history and not by number."""

import pytest

from tests.integration.api.driver import (
    MODEL,
    ON_BOTH_DATABASES,
    Driver,
    document_of,
    problem_of,
)
from tests.integration.api.test_transitions import artifact_file, overwrite

pytestmark = ON_BOTH_DATABASES


def serving(api: Driver) -> int:
    return int(api.read(f"/models/{MODEL}/stages/Production")["version"])


def test_rollback_returns_to_the_version_that_served_before(api: Driver) -> None:
    api.ready_versions(2)
    api.serve(1, 2)

    answer = api.rollback(reason="errors at the till")

    document = document_of(answer)
    assert answer.status_code == 200
    assert document["cause"] == "rollback"
    assert document["superseded"] == 2
    assert document["version"]["version"] == 1
    assert api.stages() == {1: "Production", 2: "Archived"}
    assert [line["cause"] for line in api.read(f"/models/{MODEL}/history")["items"]][
        :2
    ] == ["rollback", "superseded"]


def test_rollback_goes_by_serving_history_and_not_by_number(api: Driver) -> None:
    api.ready_versions(4)
    api.serve(3, 1, 4)

    api.rollback()

    assert serving(api) == 1


def test_rollback_passes_over_versions_that_were_archived_without_serving(
    api: Driver,
) -> None:
    api.ready_versions(3)
    api.serve(1)
    api.moved(2, "Staging", "Archived")
    api.serve(3)

    api.rollback()

    assert serving(api) == 1


def test_rollback_of_a_rollback_undoes_it(api: Driver) -> None:
    api.ready_versions(2)
    api.serve(1, 2)

    served = []
    for _ in range(3):
        api.rollback()
        served.append(serving(api))

    assert served == [1, 2, 1]


def test_rollback_into_an_empty_stage_returns_to_the_last_that_served(
    api: Driver,
) -> None:
    api.ready_versions(2)
    api.serve(1, 2)
    api.moved(2, "Archived")

    document = document_of(api.rollback())

    assert document["version"]["version"] == 2
    assert document["superseded"] is None


def test_rollback_to_a_named_version_that_served_once(api: Driver) -> None:
    api.ready_versions(3)
    api.serve(1, 2, 3)

    document = document_of(api.rollback(to_version=1))

    assert document["version"]["version"] == 1
    assert api.stages() == {1: "Production", 2: "Archived", 3: "Archived"}


@pytest.mark.parametrize("stages", [[], ["Staging"], ["Staging", "Archived"]])
def test_rollback_to_a_version_that_never_served_is_refused(
    api: Driver, stages: list[str]
) -> None:
    api.ready_versions(2)
    api.serve(1)
    api.moved(2, *stages)

    problem = problem_of(api.rollback(to_version=2), 409, "transition-refused")

    assert problem["reasons"][-1] == "version 2 has never been in Production"
    assert serving(api) == 1


def test_rollback_to_the_version_that_serves_is_refused(api: Driver) -> None:
    api.ready_versions(1)
    api.serve(1)

    problem = problem_of(api.rollback(to_version=1), 409, "transition-refused")

    assert problem["reasons"] == ["it is in Production already"]


def test_rollback_to_an_absent_version_is_not_found(api: Driver) -> None:
    api.ready_versions(1)

    problem_of(api.rollback(to_version=9), 404, "not-found")


@pytest.mark.parametrize("served", [[], [1]])
def test_rollback_with_nothing_to_return_to_is_refused(
    api: Driver, served: list[int]
) -> None:
    api.ready_versions(1)
    api.serve(*served)

    problem = problem_of(api.rollback(), 409, "conflict")

    assert "nothing to roll back to" in problem["detail"]


def test_rollback_does_not_skip_a_deleted_version_in_silence(api: Driver) -> None:
    api.ready_versions(3)
    api.serve(1, 2, 3)
    api.delete(f"/models/{MODEL}/versions/2")

    problem = problem_of(api.rollback(), 409, "conflict")
    named = api.rollback(to_version=1)

    assert (
        "version 2 was in Production before, but has been deleted"
        in (problem["detail"])
    )
    assert named.status_code == 200


def test_rollback_to_a_changed_artifact_is_refused_and_the_incumbent_stays(
    api: Driver,
) -> None:
    api.ready_versions(2)
    api.serve(1, 2)
    overwrite(artifact_file(api, 1), b"v9")

    problem_of(api.rollback(), 409, "artifact-changed")

    assert serving(api) == 2
    assert api.version(1)["verified"] is False


def test_rolled_back_version_keeps_its_number_and_digest(api: Driver) -> None:
    api.ready_versions(2)
    digest = api.version(1)["artifact_digest"]
    api.serve(1, 2)

    api.rollback()

    assert api.version(1)["artifact_digest"] == digest
    assert api.read(f"/models/{MODEL}")["latest_version"] == 2


def test_body_of_another_media_type_is_not_taken_for_none(api: Driver) -> None:
    api.ready_versions(3)
    api.serve(1, 2, 3)

    answer = api.post(
        f"/models/{MODEL}/rollback", data='{"to_version": 1}', content_type="text/plain"
    )

    problem_of(answer, 415, "unsupported-media-type")
    assert serving(api) == 3


def test_a_whole_number_may_be_written_with_a_point(api: Driver) -> None:
    api.ready_versions(2)
    api.serve(1, 2)

    assert document_of(api.rollback(to_version=1.0))["version"]["version"] == 1
    problem_of(api.rollback(to_version=1.5), 422, "invalid")
