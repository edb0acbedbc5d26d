"""Models: created, named by rules, made prompts, deleted."""

from dataclasses import replace
from typing import Any

import pytest

from registry.domain.commands.change import Want
from registry.domain.commands.models import (
    MAX_FORMER_NAMES,
    ChangeModel,
    CreateModel,
    DeleteModel,
)
from registry.domain.documents import NO_FACTS
from registry.domain.roles import Grant, Role
from registry.domain.rows import ModelTagRow
from registry.errors import (
    ConflictError,
    DeletionRefusedError,
    InvalidInputError,
    PermissionDeniedError,
)
from tests.unit.commands.making import (
    BEFORE,
    CHAMPION,
    MODEL,
    NOW,
    POLICY,
    PROMPT,
    context,
    events,
    policy,
    seen,
    written,
)

IS_PROMPT = {"mlflow.prompt.is_prompt": "true"}
SERVING = replace(NO_FACTS, held_stages={2: "Production", 1: "Staging"})
#: Models in a café have rules of their own.
ELSEWHERE = policy('[[override]]\nmodels = "café*"\nmoves = []\n')


def change(**members: Any) -> ChangeModel:  # noqa: ANN401
    return ChangeModel(model="churn", **members)


def test_new_model_has_nothing_behind_it() -> None:
    outcome = CreateModel(
        model="churn", tags={"team": "a", "no": None}, id="m9"
    ).decide(context())

    effects = written(outcome)
    assert effects.is_new
    assert effects.added == [ModelTagRow(model_id="m9", key="team", value="a")]
    assert (effects.entry.n, effects.model.last_event) == (1, 1)
    ((name, data),) = events(outcome)
    assert (name, data["tags"]) == ("registered_model.created", {"team": "a"})
    assert outcome.answer.document["stages"] == {}


@pytest.mark.parametrize(
    ("tags", "told"),
    [(IS_PROMPT, "prompt.created"), ({}, "registered_model.created")],
    ids=["prompt", "model"],
)
def test_what_is_created_is_a_prompt_by_its_tag(
    tags: dict[str, str], told: str
) -> None:
    outcome = CreateModel(model="churn", tags=tags).decide(context())

    ((name, data),) = events(outcome)
    assert (name, data["tags"]) == (told, {})
    assert outcome.answer.row.is_prompt == bool(tags)


def test_tags_of_a_model_are_replaced_row_by_row() -> None:
    present = replace(NO_FACTS, tags={"old": "1", "kept": "2", "new": "0"})
    tags = {"old": None, "new": "3", "never": None}

    outcome = change(tags=tags).decide(seen(facts=present), context())

    assert [row.key for row in written(outcome).removed] == ["old", "new"]
    assert [(row.key, row.value) for row in written(outcome).added] == [("new", "3")]
    ((name, data),) = events(outcome)
    assert (name, data["tags"]) == (
        "registered_model.updated",
        {"kept": "2", "new": "3"},
    )
    assert outcome.answer.row.mlflow_updated_at == BEFORE


def test_description_is_a_change_for_mlflow() -> None:
    describe = change(description="whether they leave")

    row = describe.decide(seen(), context()).answer.row

    assert describe.want(POLICY) == Want(facts=True)

    assert (row.description, row.mlflow_updated_at) == ("whether they leave", NOW)


def test_tags_of_a_prompt_are_told_to_those_alone_who_name_them() -> None:
    present = replace(NO_FACTS, tags={**IS_PROMPT, "old": "1"})

    effects = written(
        change(tags={"old": None, "new": "2"}).decide(
            seen(model=PROMPT, facts=present), context()
        )
    )

    assert [(event.type, event.is_opt_in) for event in effects.events] == [
        ("prompt.updated", False),
        ("prompt.tag_deleted", True),
        ("prompt.tag_set", True),
    ]


def test_model_becomes_a_prompt_only_before_it_has_had_a_version() -> None:
    unborn = replace(MODEL, last_number=0)

    outcome = change(tags=IS_PROMPT).decide(seen(model=unborn), context())

    assert outcome.answer.row.is_prompt
    assert written(outcome).entry.action == "prompt.updated"
    with pytest.raises(InvalidInputError, match="stays the prompt or the model that"):
        change(tags=IS_PROMPT).decide(seen(), context())


def test_renamed_model_is_told_by_both_names() -> None:
    outcome = change(name="loss").decide(seen(former_names=["attrition"]), context())

    effects = written(outcome)
    assert effects.renamed
    assert effects.model.former_names == ["churn"]
    assert effects.former_names == ["attrition", "churn"]
    ((name, data),) = events(outcome)
    assert (name, data["model"], data["previous_name"]) == (
        "registered_model.renamed",
        "loss",
        "churn",
    )


def test_name_that_it_had_is_no_former_one_once_it_has_it_again() -> None:
    before = replace(MODEL, former_names=("loss", "attrition"))

    effects = written(
        change(name="loss").decide(
            seen(model=before, former_names=["loss", "attrition"]), context()
        )
    )

    assert effects.model.former_names == ["attrition", "churn"]
    assert effects.former_names == ["attrition", "churn"]


def test_only_the_last_of_many_former_names_are_kept() -> None:
    names = [f"name {n}" for n in range(MAX_FORMER_NAMES)]
    found = seen(model=replace(MODEL, former_names=names), former_names=names)

    effects = written(change(name="loss").decide(found, context()))

    assert effects.model.former_names == [*names[1:], "churn"]
    assert effects.former_names == [*names[1:], "churn"]


def test_own_name_is_no_rename_though_mlflow_says_so() -> None:
    outcome = change(name="churn").decide(seen(), context())

    ((name, data),) = events(outcome)
    assert name == "registered_model.updated"
    assert "previous_name" not in data
    assert outcome.answer.row.mlflow_updated_at == NOW
    assert outcome.answer.row.former_names == ()


def test_who_may_not_move_what_serves_takes_no_name_from_it() -> None:
    rename = change(name="loss")

    with pytest.raises(PermissionDeniedError, match="versions 1, 2 are in use"):
        rename.decide(seen(facts=SERVING), context(Role.WRITER))
    assert rename.decide(seen(facts=SERVING), context()).effects
    assert rename.decide(seen(facts=NO_FACTS), context(Role.WRITER)).effects


def test_what_serves_is_renamed_only_to_what_its_bearer_may_promote() -> None:
    """Else it would serve there without anybody who may promote there."""
    of_pat = context()
    grants = (Grant(Role.PROMOTER, "churn"), Grant(Role.WRITER))
    actor = replace(of_pat.caller.actor, grants=grants)
    of_pat = replace(of_pat, caller=replace(of_pat.caller, actor=actor))

    with pytest.raises(PermissionDeniedError, match="promote versions of 'loss'"):
        change(name="loss").decide(seen(facts=SERVING), of_pat)
    assert change(name="loss").decide(seen(facts=NO_FACTS), of_pat).effects


@pytest.mark.parametrize("name", ["café-loss", "cafe\u0301-loss"], ids=["NFC", "NFD"])
def test_name_is_no_way_around_the_rules_of_another(name: str) -> None:
    rename = change(name=name)
    found = seen(facts=SERVING, outside=[(1, "Staging"), (2, "Production")])

    assert rename.want(ELSEWHERE).outside == frozenset({"None", "Archived"})
    with pytest.raises(ConflictError, match="versions 1 in Staging, 2 in Production"):
        rename.decide(found, context(rules=ELSEWHERE))
    for unused in (replace(found, outside=()), replace(found, model=PROMPT)):
        assert rename.decide(unused, context(rules=ELSEWHERE)).effects


def test_rules_that_are_the_same_let_a_model_in_use_be_renamed() -> None:
    found = seen(facts=SERVING, outside=[(1, "Staging")])

    assert change(name="loss").decide(found, context(rules=ELSEWHERE)).effects


@pytest.mark.parametrize("name", ["", "a/b", ".."])
def test_name_that_breaks_a_rule_is_none(name: str) -> None:
    with pytest.raises(InvalidInputError):
        change(name=name).decide(seen(), context())
    with pytest.raises(InvalidInputError):
        CreateModel(model=name).decide(context())


def test_tag_that_breaks_a_rule_is_none() -> None:
    with pytest.raises(InvalidInputError, match="tag"):
        CreateModel(model="churn", tags={"": "x"}).decide(context())


def test_model_goes_with_all_that_belongs_to_it() -> None:
    effects = written(DeleteModel(model="churn").decide(seen(), context()))

    assert effects.emptied
    assert effects.model.deleted_at == NOW
    assert DeleteModel(model="churn").want(POLICY).outside == POLICY.deletable


@pytest.mark.parametrize(
    ("stages", "listed"),
    [({"Archived", "None"}, "Archived, None"), (set(), "no stage")],
    ids=["some", "none"],
)
def test_model_stays_while_the_policy_protects_a_version(
    stages: set[str], listed: str
) -> None:
    rules = replace(POLICY, deletable=frozenset(stages))

    with pytest.raises(DeletionRefusedError, match=f"versions 2 are in .* {listed} "):
        DeleteModel(model="churn").decide(
            seen(outside=[(2, "Production")]), context(Role.ADMIN, rules=rules)
        )


def test_model_in_use_is_deleted_by_who_may_move_its_versions() -> None:
    delete = DeleteModel(model="churn")

    with pytest.raises(PermissionDeniedError):
        delete.decide(seen(facts=SERVING), context(Role.WRITER))
    assert delete.decide(seen(facts=SERVING), context()).effects
    assert delete.decide(
        seen(model=PROMPT, facts=SERVING), context(Role.WRITER)
    ).effects


def test_guarded_alias_goes_with_its_model_by_who_may_remove_it() -> None:
    champion = seen(facts=replace(NO_FACTS, aliases={"champion": 3}))
    delete = DeleteModel(model="churn")

    with pytest.raises(PermissionDeniedError, match="may not promote"):
        delete.decide(champion, context(Role.WRITER, rules=CHAMPION))
    assert delete.decide(champion, context(rules=CHAMPION)).effects


@pytest.mark.parametrize(
    ("alias", "name", "is_refused"),
    [
        ("champion", "risk-1", True),
        ("best", "risk-1", False),
        ("production", "risk-1", False),
        ("champion", "loss", False),
    ],
)
def test_alias_is_taken_along_to_no_name_for_which_the_policy_guards_it(
    alias: str, name: str, *, is_refused: bool
) -> None:
    guards = (
        '[[override]]\nmodels = "risk-*"\n[[override.aliases]]\nname = "production"\n'
        'stage = "Production"\n[[override.aliases]]\nname = "champ*"\n'
        'stages = ["Production"]\n'
    )
    found = seen(facts=replace(NO_FACTS, aliases={alias: 3}))
    rename, of_pat = change(name=name), context(rules=policy(guards))

    if is_refused:
        with pytest.raises(ConflictError, match="guards alias 'champion' of models of"):
            rename.decide(found, of_pat)
    else:
        assert rename.decide(found, of_pat).effects
