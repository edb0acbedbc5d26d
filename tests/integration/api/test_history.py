"""History: every stage change, and who held a stage at any time."""

from datetime import UTC, datetime, timedelta
from itertools import count
from urllib.parse import quote

import pytest

from tests.integration.api.driver import (
    MODEL,
    ON_BOTH_DATABASES,
    Document,
    Driver,
    cursor_of,
    problem_of,
)

pytestmark = ON_BOTH_DATABASES
HISTORY = f"/models/{MODEL}/history"
PRODUCTION = f"/models/{MODEL}/stages/Production"


@pytest.fixture(autouse=True)
def _clock_that_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every change a second after the one before, whatever the machine's clock does."""
    seconds = count()

    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> "Clock":
            del tz
            start = cls(2026, 11, 20, 12, tzinfo=UTC)
            return start + timedelta(seconds=next(seconds))

    monkeypatch.setattr("registry.web.commands.datetime", Clock)


def times(api: Driver) -> list[str]:
    """When each stage change was made, oldest first."""
    return [line["at"] for line in reversed(api.read(f"{HISTORY}?limit=200")["items"])]


def holder_at(api: Driver, at: str, stage: str = "Production") -> int | None:
    answer = api.get(f"/models/{MODEL}/stages/{stage}?at={quote(at)}")
    if answer.status_code == 404:
        return None
    version: Document = answer.get_json()
    return int(version["version"])


def test_history_tells_every_change_newest_first(api: Driver) -> None:
    api.ready_versions(2)
    api.serve(1, 2)
    api.rollback()

    lines = api.read(HISTORY)["items"]

    assert [
        (line["version"], line["from_stage"], line["to_stage"], line["cause"])
        for line in reversed(lines)
    ] == [
        (1, "None", "Staging", "promotion"),
        (1, "Staging", "Production", "promotion"),
        (2, "None", "Staging", "promotion"),
        (1, "Production", "Archived", "superseded"),
        (2, "Staging", "Production", "promotion"),
        (2, "Production", "Archived", "superseded"),
        (1, "Archived", "Production", "rollback"),
    ]
    assert all(
        line["actor"] == {"kind": "token", "name": "bootstrap"} for line in lines
    )
    # The first two are the registrations, which the history leaves out.
    assert [line["sequence"] for line in lines] == [9, 8, 7, 6, 5, 4, 3]


def test_history_of_a_stage_holds_what_entered_and_what_left_it(api: Driver) -> None:
    api.ready_versions(2)
    api.serve(1, 2)

    lines = api.read(f"{HISTORY}?stage=archived")["items"]
    served = api.read(f"{HISTORY}?stage=Production")["items"]

    assert [(line["version"], line["to_stage"]) for line in lines] == [(1, "Archived")]
    assert [(line["version"], line["to_stage"]) for line in reversed(served)] == [
        (1, "Production"),
        (1, "Archived"),
        (2, "Production"),
    ]
    problem_of(api.get(f"{HISTORY}?stage=Nowhere"), 422, "invalid")
    problem_of(api.get(f"{HISTORY}?stage="), 422, "invalid")


def test_history_is_paged_without_gap_or_repeat(api: Driver) -> None:
    api.ready_versions(2)
    api.serve(1, 2)

    pages = [api.read(f"{HISTORY}?limit=2")]
    while pages[-1]["next_cursor"]:
        cursor = pages[-1]["next_cursor"]
        pages.append(api.read(f"{HISTORY}?limit=2&cursor={cursor}"))

    sequences = [line["sequence"] for page in pages for line in page["items"]]
    assert sequences == [7, 6, 5, 4, 3]
    assert len(pages) == 3


def test_model_that_never_moved_has_an_empty_history(api: Driver) -> None:
    api.ready_versions(1)

    assert api.read(HISTORY) == {"items": [], "next_cursor": None}
    assert api.read(f"{HISTORY}?cursor={cursor_of('1')}")["items"] == []


def test_holder_of_a_stage_is_the_version_in_it(api: Driver) -> None:
    api.ready_versions(1)
    problem_of(api.get(PRODUCTION), 404, "not-found")

    api.serve(1)

    assert api.read(PRODUCTION) == api.version(1)
    assert api.read(f"/models/{MODEL}/stages/production") == api.version(1)
    problem_of(api.get(f"/models/{MODEL}/stages/Nowhere"), 422, "invalid")


def test_holder_of_a_shared_stage_is_the_version_that_entered_last(
    api: Driver,
) -> None:
    api.ready_versions(3)
    for number in (3, 1, 2):
        api.moved(number, "Staging")
    api.moved(2, "Archived")

    assert api.read(f"/models/{MODEL}/stages/Staging")["version"] == 1


def test_question_about_a_time_is_answered_from_history(api: Driver) -> None:
    api.ready_versions(2)
    api.serve(1, 2)
    api.rollback()
    staged, served, staged_too, superseded, _, _, rolled_back = times(api)

    assert [
        holder_at(api, at)
        for at in (staged, served, staged_too, superseded, rolled_back)
    ] == [None, 1, 1, 2, 1]
    assert holder_at(api, "2000-01-01T00:00:00Z") is None
    assert holder_at(api, "2999-01-01T00:00:00Z") == 1
    assert holder_at(api, staged, "Staging") == 1
    assert holder_at(api, superseded, "Archived") == 1


def test_instant_may_be_given_with_any_offset(api: Driver) -> None:
    api.ready_versions(1)
    api.serve(1)
    _, served = times(api)

    assert holder_at(api, served.replace("Z", "+00:00")) == 1
    assert holder_at(api, served.replace("Z", "+14:00")) is None


def test_deleted_version_held_the_stage_all_the_same(api: Driver) -> None:
    api.ready_versions(2)
    api.serve(1, 2)
    _, served, _, superseded, _ = times(api)
    api.delete(f"/models/{MODEL}/versions/1")

    assert holder_at(api, served) == 1
    assert holder_at(api, superseded) == 2


def test_version_holds_no_stage_from_its_deletion_on(api: Driver) -> None:
    api.ready_versions(1)
    api.moved(1, "Staging", "Archived")
    *_, archived = times(api)
    api.delete(f"/models/{MODEL}/versions/1")
    deleted = api.audit(MODEL)[-1]["at"]

    assert holder_at(api, archived, "Archived") == 1
    assert holder_at(api, deleted, "Archived") is None
    assert holder_at(api, "2999-01-01T00:00:00Z", "Archived") is None
    problem_of(api.get(f"/models/{MODEL}/stages/Archived"), 404, "not-found")


def test_time_that_is_none_is_refused(api: Driver) -> None:
    api.ready_versions(1)

    for at in ("", "yesterday", "2026-11-20", "2026-11-20T12:00:00"):
        problem = problem_of(api.get(f"{PRODUCTION}?at={at}"), 422, "invalid")
        assert list(problem["errors"]) == ["at"]


def test_history_of_a_deleted_model_is_not_that_of_its_successor(
    api: Driver,
) -> None:
    api.ready_versions(1)
    api.moved(1, "Staging", "Archived")
    api.delete(f"/models/{MODEL}")
    api.ready_versions(1)

    assert api.read(HISTORY)["items"] == []
    assert holder_at(api, "2999-01-01T00:00:00Z", "Archived") is None
