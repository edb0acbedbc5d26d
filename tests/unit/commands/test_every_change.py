"""What holds of a change of whatever kind: entry, events, numbers, row and instant."""

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from registry.domain.audit_chain import (
    GENESIS_HASH,
    Chain,
    Head,
    SealedEntry,
    entry_hash,
    verify_chain,
)
from registry.domain.commands.models import CreateModel
from registry.domain.events import EVENTS
from registry.domain.roles import Role
from registry.domain.timestamps import rfc3339
from registry.errors import StaleExpectationError, VersionNotFoundError
from tests.unit.commands.every import (
    ABOUT_VERSIONS,
    EVERY,
    IDLE,
    OF_VERSIONS,
    Case,
)
from tests.unit.commands.making import (
    BEFORE,
    MODEL,
    NOW,
    POLICY,
    events,
    seen,
    written,
)
from tests.unit.commands.making import context as made_by

#: Each is asked for by somebody who may.
context = partial(made_by, Role.ADMIN)
every = pytest.mark.parametrize("case", EVERY.values(), ids=EVERY)
about_versions = pytest.mark.parametrize(
    "case", ABOUT_VERSIONS.values(), ids=ABOUT_VERSIONS
)
of_versions = pytest.mark.parametrize("case", OF_VERSIONS.values(), ids=OF_VERSIONS)
idle = pytest.mark.parametrize("case", IDLE.values(), ids=IDLE)


@every
def test_change_has_one_entry_sealed_behind_the_head_of_the_chain(case: Case) -> None:
    command, found = case

    effects = written(command.decide(found, context()))

    entry, model = effects.entry, effects.model
    assert (entry.chain, entry.n) == ("model:m1", MODEL.chain_n + 1)
    assert entry.prev_hash == MODEL.chain_hash
    assert entry.hash == entry_hash(MODEL.chain_hash, entry.canonical)
    assert (model.chain_n, model.chain_hash) == (entry.n, entry.hash)
    assert (entry.actor, entry.model, entry.at) == ("pat", model.name, rfc3339(NOW))


@every
def test_events_are_numbered_on_from_the_last_one(case: Case) -> None:
    command, found = case

    effects = written(command.decide(found, context()))

    numbers = list(range(8, 8 + len(effects.events)))
    assert numbers
    assert [event.sequence for event in effects.events] == numbers
    assert [event.data["sequence"] for event in effects.events] == numbers
    assert len({event.id for event in effects.events}) == len(numbers)
    assert effects.model.last_event == numbers[-1]
    for event in effects.events:
        assert event.data["model"] == effects.model.name
        assert event.data["actor"] == {"kind": "token", "name": "pat"}


@every
def test_change_is_never_earlier_than_the_one_before(case: Case) -> None:
    command, found = case
    behind = context(now=BEFORE - timedelta(hours=1))

    effects = written(command.decide(found, behind))

    assert (effects.model.updated_at, effects.entry.at) == (BEFORE, rfc3339(BEFORE))
    assert effects.model.row_version == MODEL.row_version + 1


@idle
def test_what_is_so_already_is_no_change(case: Case) -> None:
    command, found = case

    assert command.decide(found, context()).effects is None


@about_versions
def test_version_that_is_not_there_is_not_found(case: Case) -> None:
    command, found = case

    with pytest.raises(VersionNotFoundError, match="no version 3 of model 'churn'"):
        command.decide(replace(found, version=None), context())


@of_versions
def test_version_with_another_entity_tag_is_left_alone(case: Case) -> None:
    command, found = case
    expecting: Any = command

    with pytest.raises(StaleExpectationError, match=r'its entity tag is now "v3\.2"'):
        replace(expecting, if_match="v3.1").decide(found, context())

    assert replace(expecting, if_match="v3.2").decide(found, context()).effects


@about_versions
def test_command_about_a_version_wants_to_see_it(case: Case) -> None:
    assert case[0].want(POLICY).number == 3


@every
def test_who_asks_by_a_former_name_is_told_too(case: Case) -> None:
    command, found = case

    effects = written(
        command.decide(replace(found, former_names=("attrition",)), context())
    )

    assert effects.former_names[0] == "attrition"


def test_chain_of_a_models_changes_verifies_from_its_first_on() -> None:
    created = CreateModel(model="churn", tags={"team": "a"}).decide(context())
    effects = written(created)
    entries = [effects.entry]
    for command, found in (EVERY["model described"], EVERY["registered"]):
        effects = written(
            command.decide(replace(found, model=effects.model), context())
        )
        entries.append(effects.entry)

    model = effects.model
    chain = Chain(
        name=model.chain,
        entries=[
            SealedEntry(
                chain=entry.chain,
                n=entry.n,
                prev_hash=entry.prev_hash,
                hash=entry.hash,
                canonical=entry.canonical,
                private=entry.private,
                columns={"action": entry.action, "model": entry.model},
            )
            for entry in entries
        ],
        head=Head(chain=model.chain, n=model.chain_n, hash=model.chain_hash),
    )
    assert entries[0].prev_hash == GENESIS_HASH
    assert verify_chain(chain) is None


def test_links_are_left_out_where_the_server_does_not_know_its_address() -> None:
    command, found = EVERY["described"]
    nowhere = context()
    nowhere = replace(nowhere, caller=replace(nowhere.caller, base_url=""))

    ((_, data),) = events(command.decide(found, nowhere))
    ((_, linked),) = events(command.decide(found, context()))

    assert data["links"] == {}
    version = "https://models.example/api/v1/models/churn/versions/3"
    assert linked["links"] == {
        "version": version,
        "deployments": f"{version}/deployments",
        "page": "https://models.example/models/churn/versions/3",
    }


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("described", [("model_version.updated", False)]),
        ("commented", [("model_version.commented", True)]),
        ("comment edited", [("model_version.comment_updated", True)]),
        ("comment removed", [("model_version.comment_deleted", True)]),
    ],
)
def test_comments_are_told_to_those_alone_who_name_them(
    name: str, told: list[tuple[str, bool]]
) -> None:
    command, found = EVERY[name]

    effects = written(command.decide(found, context()))

    assert [(event.type, event.is_opt_in) for event in effects.events] == told


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("described", "prompt_version.updated"),
        ("deleted", "prompt_version.deleted"),
        ("commented", "prompt_version.commented"),
        ("alias set", "prompt_version.alias_set"),
        ("check reported", "prompt_version.check_reported"),
        ("model described", "prompt.updated"),
        ("model deleted", "prompt.deleted"),
    ],
)
def test_what_happens_to_a_prompt_has_names_of_its_own(name: str, told: str) -> None:
    command, found = EVERY[name]
    found = replace(found, model=replace(MODEL, is_prompt=True))

    effects = written(command.decide(found, context()))

    assert effects.entry.action == told
    assert [event.type for event in effects.events] == [told]
    assert "stage" not in effects.events[0].data
    assert told in EVENTS


def test_event_of_a_prompt_says_its_text_in_place_of_an_artifact() -> None:
    command, found = EVERY["alias set"]
    assert found.version is not None
    tags = {"mlflow.prompt.text": "Say {{x}}", "team": "a"}
    prompt = seen(
        model=replace(MODEL, is_prompt=True), version=replace(found.version, tags=tags)
    )

    ((_, data),) = events(command.decide(prompt, context()))

    assert (data["template"], data["tags"]) == ("Say {{x}}", {"team": "a"})
    assert "source" not in data
