"""Names that point at versions, and what people say about them."""

import pytest

from registry.domain.commands.aliases import DeleteAlias, SetAlias
from registry.domain.commands.comments import (
    MAX_CHARACTERS,
    CreateComment,
    EditComment,
)
from registry.domain.roles import Role
from registry.domain.rows import AliasRow
from registry.errors import (
    AliasNotFoundError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
    VersionNotFoundError,
)
from tests.unit.commands.every import THIRD
from tests.unit.commands.making import (
    ALIAS,
    BEFORE,
    COMMENT,
    NOW,
    POLICY,
    context,
    events,
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
