"""What must hold of the registry, whatever was asked of it.

Models are compared through the API; the audit chain, events and deliveries of
deleted models too, as they lie in the database.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.persistence.database import db
from registry.persistence.tables import AuditEntry, RegisteredModel
from tests.stateful.rules import STAGES, Announced, Document, Model, Registry
from tests.stateful.world import World
from webhooks.tables import Delivery, EventRow


def check_contains(found: Document, expected: Document) -> None:
    """Every member that the rules speak of is as they say."""
    for name, value in expected.items():
        if isinstance(value, dict) and name != "tags":
            check_contains(found[name], value)
        else:
            assert found[name] == value, (name, found, expected)


def check_model(world: World, registry: Registry, name: str) -> None:
    """The model as it is shown, and that nothing was recorded but what should."""
    model = registry.models.get(name)
    answer = world.client.get(f"/api/v1/models/{name}")
    if model is None:
        assert answer.status_code == 404, answer.text
        return
    check_contains(answer.get_json(), shown_model(model))
    newest = get_items(world, f"/audit?model={name}&limit=1")[0]
    last = model.audit[-1]
    assert (newest["n"], newest["action"], newest["version"]) == (
        len(model.audit),
        last.action,
        last.version,
    )


def shown_model(model: Model) -> Document:
    """What the API shows of a model; one incumbent at most."""
    living = model.living()
    stages: dict[str, list[int]] = {}
    for version in living:
        if version.stage in {"Staging", "Production"}:
            stages.setdefault(version.stage, []).append(version.number)
    assert len(stages.get("Production", [])) <= 1
    return {
        "description": model.description,
        "tags": model.tags,
        "aliases": model.aliases,
        "stages": stages,
        "latest_version": living[-1].number if living else None,
    }


def check_everything(world: World, registry: Registry) -> None:
    """Every model of an example, the deleted ones as far as they are left."""
    for model in registry.models.values():
        check_versions(world, model)
        check_history(world, model)
        check_chain(world, model.name)
    with world.app.app_context():
        session = db.session()
        for name in {model.name for model in all_models(registry)}:
            of_name = [each for each in all_models(registry) if each.name == name]
            ids = model_ids(session, name)
            assert len(ids) == len(of_name)
            for model_id, model in zip(ids, of_name, strict=True):
                check_entries(world, session, model_id, model)
                check_events(world, session, model_id, model)


def all_models(registry: Registry) -> list[Model]:
    """In the order in which those of one name were created."""
    return [*registry.deleted, *registry.models.values()]


def model_ids(session: Session, name: str) -> Sequence[str]:
    return session.scalars(
        select(RegisteredModel.id)
        .where(RegisteredModel.name == name)
        .order_by(RegisteredModel.created_at)
    ).all()


def check_versions(world: World, model: Model) -> None:
    found = get_items(world, f"/models/{model.name}/versions")
    living = sorted(model.living(), key=lambda each: each.number, reverse=True)
    assert [each["version"] for each in found] == [each.number for each in living]
    for document, version in zip(found, living, strict=True):
        aliases = [a for a, to in model.aliases.items() if to == version.number]
        assert document["aliases"] == sorted(aliases)
        expected = {
            "stage": version.stage,
            "status": version.status,
            "verified": version.is_sealed,
            "description": version.description,
            "tags": version.tags,
        }
        check_contains(document, expected)


def check_history(world: World, model: Model) -> None:
    found = get_items(world, f"/models/{model.name}/history")
    moves = [
        (each["version"], each["from_stage"], each["to_stage"], each["cause"])
        for each in reversed(found)
    ]
    assert moves == [
        (each.version, each.from_stage, each.to_stage, each.cause)
        for each in model.history
    ]


def check_chain(world: World, name: str) -> None:
    report = world.client.get(f"/api/v1/audit/verify?model={name}").get_json()
    assert report["ok"], report


def check_entries(world: World, session: Session, model_id: str, model: Model) -> None:
    """One entry for each change; and who held a stage at its instant."""
    entries = session.scalars(
        select(AuditEntry)
        .where(AuditEntry.chain == f"model:{model_id}")
        .order_by(AuditEntry.n)
    ).all()
    assert [(each.n, each.action, each.version) for each in entries] == [
        (n, each.action, each.version) for n, each in enumerate(model.audit, start=1)
    ]
    if model.versions and model.audit[-1].action != "registered_model.deleted":
        holders_at = {
            entry.at: audited.holders  # the last change of an instant counts
            for entry, audited in zip(entries, model.audit, strict=True)
        }
        known: dict[str, int] = {}
        for at, holders in holders_at.items():
            changed = [each for each in STAGES if known.get(each) != holders.get(each)]
            check_holders(world, model, at, {s: holders.get(s) for s in changed})
            known = holders
    assert all(before.at <= after.at for before, after in pairwise(entries))


def check_holders(
    world: World, model: Model, at: str, holders: dict[str, int | None]
) -> None:
    """Who held a stage at an instant: asked for the stages where that changed."""
    for stage, number in holders.items():
        path = f"/api/v1/models/{model.name}/stages/{stage}"
        answer = world.client.get(path, query_string={"at": at})
        assert answer.status_code == (404 if number is None else 200), answer.text
        if number is not None:
            assert answer.get_json()["version"] == number, (stage, at, holders)


def check_events(world: World, session: Session, model_id: str, model: Model) -> None:
    """One event for each change, numbered without gap, sent to whoever asked."""
    rows = session.scalars(
        select(EventRow).where(EventRow.ordering_key == model_id)
    ).all()
    rows = sorted(rows, key=lambda row: int(row.data["sequence"]))
    assert [row.data["sequence"] for row in rows] == list(range(1, len(rows) + 1))
    assert [announced(row) for row in rows] == model.events
    for subscription_id, wanted in world.subscriptions.items():
        expected = [
            row.id
            for row, event in zip(rows, model.events, strict=True)
            if wanted.matches(model.name, event)
        ]
        assert deliveries(session, subscription_id, model_id) == [
            (sequence, event_id) for sequence, event_id in enumerate(expected, start=1)
        ]


def announced(row: EventRow) -> Announced:
    data: dict[str, Any] = row.data
    return Announced(
        row.type,
        data.get("version"),
        data.get("to_stage"),
        data.get("cause"),
        data.get("previous_version"),
    )


def deliveries(
    session: Session, subscription_id: str, model_id: str
) -> list[tuple[int, str]]:
    rows = session.execute(
        select(Delivery.sequence, Delivery.event_id)
        .where(
            Delivery.subscription_id == subscription_id,
            Delivery.ordering_key == model_id,
        )
        .order_by(Delivery.sequence)
    )
    return [(sequence, event_id) for sequence, event_id in rows]


def get_items(world: World, path: str) -> list[Document]:
    """The items of a list that has one page."""
    separator = "&" if "?" in path else "?"
    whole = path if "limit=" in path else f"{path}{separator}limit=200"
    answer = world.client.get(f"/api/v1{whole}")
    assert answer.status_code == 200, answer.text
    items: list[Document] = answer.get_json()["items"]
    return items
