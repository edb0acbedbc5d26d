"""Names that point at versions, and what people say about them."""

from dataclasses import replace

import pytest

from registry.domain.commands.aliases import DeleteAlias, SetAlias
from registry.domain.commands.comments import (
    MAX_CHARACTERS,
    CreateComment,
    EditComment,
)
from registry.domain.commands.moves import Moved, MoveVersion
from registry.domain.roles import Role
from registry.domain.rows import AliasRow
from registry.errors import (
    AliasNotFoundError,
    AliasRefusedError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
    VerificationNeededError,
    VersionNotFoundError,
)
from tests.unit.commands.every import STAGED, THIRD
from tests.unit.commands.making import (
    ALIAS,
    BEFORE,
    CHECK,
    COMMENT,
    DIGEST,
    NOW,
    POLICY,
    PROMPT,
    context,
    events,
    policy,
    seen,
    version,
    written,
)

EDIT = EditComment(model="churn", comment="c1", text="better")


def test_alias_that_points_elsewhere_is_moved_and_a_new_one_added() -> None:
    to_second = SetAlias(model="churn", number=2, alias="best")

    moved = to_second.decide(seen(version=version(2), alias=ALIAS), context())
    added = to_second.decide(seen(version=version(2)), context())

    assert (written(moved).changed[1:], written(moved).added) == ([moved.answer], [])
    assert (written(added).changed[1:], written(added).added) == ([], [added.answer])
    assert isinstance(moved.answer, AliasRow)
    assert (moved.answer.version_id, moved.answer.number) == ("v2", 2)
    assert events(moved)[0][1]["previous_version"] == 3
    assert events(added)[0][1]["previous_version"] is None


def test_alias_is_part_of_a_versions_document_and_changes_its_entity_tag() -> None:
    outcome = SetAlias(**THIRD, alias="best").decide(seen(), context())

    assert written(outcome).changed[0].etag != version().etag


@pytest.mark.parametrize("alias", ["latest", "v1", "a b", ""])
def test_alias_that_breaks_the_rules_is_none(alias: str) -> None:
    with pytest.raises(InvalidInputError):
        SetAlias(**THIRD, alias=alias).want(POLICY)


def test_removed_alias_leaves_the_version() -> None:
    remove = DeleteAlias(model="churn", alias="best")

    effects = written(remove.decide(seen(alias=ALIAS), context()))

    assert (effects.removed, effects.entry.version) == ([ALIAS], 3)
    assert remove.want(POLICY).alias == "best"
    with pytest.raises(AliasNotFoundError):
        remove.decide(seen(), context())
    with pytest.raises(VersionNotFoundError):
        remove.decide(seen(alias=ALIAS, version=None), context())


def test_comment_is_its_writers_and_no_part_of_the_version() -> None:
    comment = CreateComment(**THIRD, text="e\u0301", new_id=lambda at: f"c{at:%d}")

    outcome = comment.decide(seen(), context())

    assert written(outcome).added == [outcome.answer]
    assert written(outcome).changed == []
    row = outcome.answer
    assert (row.id, row.text, row.author, row.author_token) == (
        "c02",
        "é",
        "pat",
        "t-pat",
    )


@pytest.mark.parametrize("text", ["", "  ", "x" * (MAX_CHARACTERS + 1)], ids=len)
def test_comment_is_neither_blank_nor_endless(text: str) -> None:
    with pytest.raises(InvalidInputError, match="and not be blank"):
        CreateComment(**THIRD, text=text, new_id=str).decide(seen(), context())


def test_edited_comment_keeps_its_writer_and_when_it_was_written() -> None:
    outcome = EDIT.decide(seen(comment=COMMENT), context(Role.ADMIN, by="t-root"))

    row = outcome.answer
    assert (row.text, row.author, row.created_at, row.updated_at) == (
        "better",
        "pat",
        BEFORE,
        NOW,
    )
    assert written(outcome).changed == [row]
    assert EDIT.want(POLICY).comment == "c1"


@pytest.mark.parametrize("text", ["better", None], ids=["edit", "remove"])
def test_comment_is_edited_by_its_writers_token_or_an_admin_alone(
    text: str | None,
) -> None:
    edit = EditComment(model="churn", comment="c1", text=text)

    with pytest.raises(PermissionDeniedError, match="pat wrote this comment"):
        edit.decide(seen(comment=COMMENT), context(by="t-namesake"))
    assert edit.decide(seen(comment=COMMENT), context()).effects


def test_removed_comment_is_told_without_its_text() -> None:
    remove = EditComment(model="churn", comment="c1", text=None)

    outcome = remove.decide(seen(comment=COMMENT), context())

    assert (written(outcome).removed, outcome.answer) == ([COMMENT], COMMENT)
    assert "comment" not in events(outcome)[0][1]


def test_comment_that_was_removed_meanwhile_is_not_found() -> None:
    for found in (seen(), seen(comment=COMMENT, version=None)):
        with pytest.raises(NotFoundError, match="there is no comment 'c1'"):
            EDIT.decide(found, context())


GUARDED = policy(
    """
[[aliases]]
name = "Champ*"
action = "promote"
stages = ["Production"]
checks = ["tests"]
min_hours_in_stage = 1
"""
)
LIVE = SetAlias(**THIRD, alias="PRODUCTION")
MOVE_OF_IT = MoveVersion(
    **THIRD,
    to_stage="Production",
    reason="alias PRODUCTION was set",
    may_be_there=True,
)


def test_bound_alias_is_set_by_the_move_that_it_is() -> None:
    outcome = replace(LIVE, move=replace(MOVE_OF_IT, verified_digest=DIGEST)).decide(
        seen(version=STAGED, in_stage=[version(1, "Production")]), context()
    )

    assert isinstance(outcome.answer, Moved)
    assert outcome.answer.superseded == 1
    assert not [row for row in written(outcome).added if isinstance(row, AliasRow)]
    assert [data["reason"] for _, data in events(outcome)] == [
        "alias PRODUCTION was set"
    ] * 2


def test_bound_alias_that_comes_as_no_move_is_one_all_the_same() -> None:
    assert LIVE.want(POLICY) == replace(
        MOVE_OF_IT.want(POLICY), alias="PRODUCTION", last_in="Production"
    )
    with pytest.raises(VerificationNeededError):
        LIVE.decide(seen(version=STAGED), context())


def test_bound_alias_of_who_is_in_the_stage_is_set_already() -> None:
    serving = version(stage="Production")
    outcome = LIVE.decide(seen(version=serving, last_in=3), context())

    assert outcome.effects is None


def test_bound_alias_is_not_set_to_who_entered_its_stage_before_another() -> None:
    staged = replace(LIVE, alias="staging")

    with pytest.raises(ConflictError, match="but version 4 entered it last"):
        staged.decide(seen(version=STAGED, last_in=4), context())


def test_bound_alias_takes_who_may_promote() -> None:
    with pytest.raises(PermissionDeniedError, match="may not promote model 'churn'"):
        LIVE.decide(seen(version=STAGED), context(Role.WRITER))


def test_bound_alias_is_removed_by_moving_the_version_out() -> None:
    remove = DeleteAlias(model="churn", alias="production", may_be_gone=True)

    with pytest.raises(ConflictError, match="is bound to Production: move the version"):
        remove.decide(seen(), context())


def test_alias_that_was_stored_before_it_was_bound_is_removed() -> None:
    stored = replace(ALIAS, alias="production")

    outcome = DeleteAlias(model="churn", alias="production").decide(
        seen(alias=stored), context()
    )

    assert written(outcome).removed == [stored]


def test_alias_of_a_prompt_is_bound_to_no_stage() -> None:
    prompt = seen(model=PROMPT)

    outcome = replace(LIVE, move=MOVE_OF_IT).decide(prompt, context(Role.WRITER))

    assert isinstance(outcome.answer, AliasRow)
    with pytest.raises(AliasNotFoundError):
        DeleteAlias(model="churn", alias="production").decide(prompt, context())


def test_guarded_alias_points_at_who_passes_its_gates() -> None:
    champion = SetAlias(**THIRD, alias="champion")
    there = seen(
        version=version(stage="Production"), checks={"tests": CHECK}, entered_at=BEFORE
    )

    assert champion.decide(there, context(rules=GUARDED)).effects
    with pytest.raises(AliasRefusedError) as refused:
        champion.decide(seen(version=STAGED), context(rules=GUARDED))
    assert refused.value.reasons == (
        "check 'tests' is missing",
        "it must stay in Staging until 2030-01-02T13:00:00.000000Z",
        "it is in Staging, not in Production",
    )


def test_guarded_alias_looks_at_what_its_rule_asks_for() -> None:
    guarded, free = (SetAlias(**THIRD, alias=alias) for alias in ("champion", "best"))

    assert (guarded.want(GUARDED).checks, guarded.want(GUARDED).entered_at) == (
        True,
        True,
    )
    assert (free.want(GUARDED).checks, free.want(GUARDED).entered_at) == (False, False)


def test_guarded_alias_is_set_and_removed_by_who_may() -> None:
    stored = replace(ALIAS, alias="champion")
    for command in (
        SetAlias(**THIRD, alias="champion"),
        DeleteAlias(model="churn", alias="champion"),
    ):
        with pytest.raises(PermissionDeniedError, match="may not promote"):
            command.decide(seen(alias=stored), context(Role.WRITER, rules=GUARDED))
    removed = DeleteAlias(model="churn", alias="champion").decide(
        seen(alias=stored), context(rules=GUARDED)
    )
    assert written(removed).removed == [stored]
