"""One transaction: a change whose record fails has not happened at all."""

from collections.abc import Callable
from typing import Any

import pytest

from registry.persistence import apply
from tests.integration.api.driver import ON_BOTH_DATABASES, Driver, problem_of
from tests.integration.api.mutations import MUTATIONS, Mutation, prepare, resolve
from webhooks import outbox


def failing_after(function: Callable[..., Any]) -> Callable[..., object]:
    """Do the work, flushed and all, and then fail."""

    def fail(*given: object, **named: object) -> object:
        function(*given, **named)
        raise RuntimeError("the disk is full")

    return fail


ANNOUNCED = [
    mutation
    for mutation in MUTATIONS
    if mutation.events and mutation.endpoint != "webhooks.test_webhook"
]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_change_whose_audit_entry_fails_leaves_nothing_behind(
    api: Driver, monkeypatch: pytest.MonkeyPatch, mutation: Mutation
) -> None:
    prepare(api)
    path = resolve(api, mutation.path)
    before = api.dump()

    with monkeypatch.context() as broken:
        for name in (
            "registry.persistence.apply.append",
            "registry.services.audit.append",
        ):
            broken.setattr(name, failing_after(apply.append))
        failed = mutation.send(api, path, Idempotency_Key="job-1")

    problem_of(failed, 500, "internal")
    assert api.dump() == before
    assert mutation.send(api, path, Idempotency_Key="job-1").status_code == (
        mutation.status
    )


@pytest.mark.parametrize("mutation", ANNOUNCED, ids=str)
def test_change_whose_event_fails_leaves_nothing_behind(
    api: Driver, monkeypatch: pytest.MonkeyPatch, mutation: Mutation
) -> None:
    prepare(api)
    path = resolve(api, mutation.path)
    before = api.dump()

    with monkeypatch.context() as broken:
        fail = failing_after(outbox.store)
        broken.setattr("webhooks.outbox.store", fail)
        failed = mutation.send(api, path, Idempotency_Key="job-1")

    problem_of(failed, 500, "internal")
    assert api.dump() == before
    assert mutation.send(api, path, Idempotency_Key="job-1").status_code == (
        mutation.status
    )


@ON_BOTH_DATABASES
@pytest.mark.parametrize("step", ["audit", "event", "answer"])
def test_rollback_that_fails_at_any_step_leaves_the_incumbent(
    api: Driver, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    prepare(api)
    before = api.dump()
    targets: dict[str, tuple[str, Callable[..., Any]]] = {
        "audit": ("registry.persistence.apply.append", apply.append),
        "event": ("webhooks.outbox.store", outbox.store),
        "answer": ("registry.services.idempotency.keep", lambda *_, **__: None),
    }
    name, function = targets[step]

    with monkeypatch.context() as broken:
        broken.setattr(name, failing_after(function))
        failed = api.post(
            "/models/fraud/rollback", {}, headers={"Idempotency-Key": "job-1"}
        )

    problem_of(failed, 500, "internal")
    assert api.dump() == before
    assert api.read("/models/fraud/stages/Production")["version"] == 2
    assert api.read("/audit/verify")["ok"] is True


def test_dispatcher_is_woken_after_the_commit_and_only_then(
    api: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken = []

    def wake() -> None:
        with api.engine.connect() as connection:
            count = connection.exec_driver_sql("SELECT count(*) FROM webhook_events")
            woken.append(count.scalar())

    monkeypatch.setattr(api.parts.dispatcher, "wake", wake)
    api.create_model("churn")  # nobody wants to hear of it
    api.post("/webhooks", {"url": "http://127.0.0.1:9/hook"})
    woken.clear()
    api.create_model()
    api.post("/models", {"name": "fraud"})  # refused: the name is taken

    assert woken == [2]


def test_dispatcher_is_left_alone_where_nobody_wants_what_is_told(
    api: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[None] = []
    monkeypatch.setattr(api.parts.dispatcher, "wake", lambda: woken.append(None))
    api.create_model()

    assert not woken
