"""What is seen over all models at once: the last moves, trouble, holds."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from registry.persistence import across_models
from registry.persistence.database import change
from tests.integration.api.driver import MODEL, ON_BOTH_DATABASES, Driver, document_of
from webhooks import endpoints
from webhooks.endpoints import Standing
from webhooks.queue.dispatcher import utc_now
from webhooks.tables import Queue, Subscription

pytestmark = ON_BOTH_DATABASES
HOUR = timedelta(hours=1)


@pytest.fixture
def api(api: Driver) -> Driver:
    """With a model whose second version is in Production, after the first."""
    api.ready_versions(3)
    api.serve(1, 2)
    return api


def report(api: Driver, number: int, status: str, environment: str = "eu") -> None:
    answer = api.post(
        f"/models/{MODEL}/versions/{number}/deployments",
        {"status": status, "environment": environment},
    )
    assert answer.status_code in {200, 201}, answer.text


def unfinished(api: Driver, *, later: timedelta = timedelta()) -> list[tuple[int, str]]:
    with api.engine.connect() as cx:
        found = across_models.unfinished_deployments(cx, utc_now() + later, limit=10)
    return [(each.row.number, each.row.status) for each in found]


def test_deployment_that_failed_is_seen_as_long_as_its_version_stays(
    api: Driver,
) -> None:
    report(api, 1, "failed")  # that it was archived
    report(api, 2, "failed")
    report(api, 2, "succeeded", "us")

    assert unfinished(api) == [(1, "failed"), (2, "failed")][::-1]
    api.rollback()
    assert unfinished(api) == []


def test_deployment_that_nothing_is_heard_of_is_stuck_after_an_hour(
    api: Driver,
) -> None:
    report(api, 2, "in_progress")

    assert unfinished(api, later=HOUR - timedelta(minutes=1)) == []
    assert unfinished(api, later=HOUR + timedelta(minutes=1)) == [(2, "in_progress")]
    assert unfinished(api, later=timedelta(days=31)) == []
    report(api, 2, "succeeded")
    assert unfinished(api, later=2 * HOUR) == []


def test_last_moves_name_who_moved_aside_and_not_twice(api: Driver) -> None:
    with api.engine.connect() as cx:
        found = across_models.last_moves(cx, limit=2)

    moves = [(each.change.number, each.change.to_stage) for each in found]
    assert moves == [(2, "Production"), (2, "Staging")]
    assert [each.superseded for each in found] == [1, None]


def test_holds_are_seen_until_they_end_or_are_lifted(api: Driver) -> None:
    until = (utc_now() + HOUR).isoformat()
    path = f"/models/{MODEL}/holds/Staging"
    api.put(path, json={"reason": "an audit", "until": until})

    def held(later: timedelta = timedelta()) -> list[str]:
        with api.engine.connect() as cx:
            found = across_models.held_models(cx, utc_now() + later, limit=10)
        return [each.model for each in found]

    assert held() == [MODEL]
    assert held(2 * HOUR) == []
    api.delete(path)
    assert held() == []


def endpoint(api: Driver, **columns: object) -> Standing:
    """An endpoint for which an event waits, with these columns."""
    new = {"url": "http://127.0.0.1:9/", "description": "ops"}
    webhook = document_of(api.post("/webhooks", new))["id"]
    api.moved(2, "Archived")
    if columns:
        with change(api.engine) as cx:
            cx.execute(update(Subscription).values(**columns))
    with api.engine.connect() as cx:
        (found,) = endpoints.read_standings(cx)
    assert (found.id, found.name) == (webhook, "ops")
    return found


def test_endpoint_is_well_as_long_as_what_is_due_is_not_late(api: Driver) -> None:
    found, now = endpoint(api), utc_now()

    assert not found.is_in_trouble(now)
    assert found.is_in_trouble(now + endpoints.LATE_AFTER + timedelta(minutes=1))


def test_pause_is_no_trouble(api: Driver) -> None:
    assert not endpoint(api, state="paused").is_in_trouble(utc_now() + HOUR)


@pytest.mark.parametrize(
    "columns",
    [
        {"state": "disabled"},
        {"failing_since": utc_now()},
        {"held_back_until": utc_now() + HOUR},
    ],
)
def test_endpoint_that_fails_or_rests_is_in_trouble(
    api: Driver, columns: dict[str, object]
) -> None:
    assert endpoint(api, **columns).is_in_trouble(utc_now())


def test_endpoint_whose_queue_is_blocked_is_in_trouble(api: Driver) -> None:
    endpoint(api)
    with change(api.engine) as cx:
        cx.execute(update(Queue).values(state="blocked"))
    with api.engine.connect() as cx:
        (found,) = endpoints.read_standings(cx)

    assert found.blocked == 1
    assert found.is_in_trouble(utc_now())
