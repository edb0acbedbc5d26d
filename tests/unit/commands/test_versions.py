"""What is said of versions, which of them may go, and how their artifacts settle."""

from dataclasses import replace
from typing import Any

import pytest

from registry.domain.commands.versions import (
    MAX_DIFFERENCES,
    ChangeVersion,
    DeleteVersion,
    FailRegistration,
    MarkArtifactChanged,
    MarkArtifactVerified,
    ScheduleSealing,
    SealVersion,
)
from registry.domain.names import MAX_TAGS
from registry.domain.roles import Role
from registry.domain.rows import AliasRow, DeclaredRow, ManifestRow, VersionTagRow
from registry.errors import (
    ConflictError,
    DeletionRefusedError,
    InvalidInputError,
    PermissionDeniedError,
)
from tests.unit.commands.every import PENDING, THIRD
from tests.unit.commands.making import (
    BEFORE,
    CHAMPION,
    MANIFEST,
    NOW,
    OPEN,
    PROMPT,
    context,
    events,
    policy,
    seen,
    version,
    written,
)


def test_tags_are_set_and_removed_and_each_is_told_to_who_names_it() -> None:
    tagged = version(tags={"old": "1", "kept": "2"})
    change = ChangeVersion(**THIRD, tags={"old": None, "new": "3", "never": None})

    effects = written(change.decide(seen(version=tagged), context()))

    assert effects.removed == [VersionTagRow(version_id="v3", key="old", value=None)]
    assert effects.added == [VersionTagRow(version_id="v3", key="new", value="3")]
    assert [(event.type, event.is_opt_in) for event in effects.events] == [
        ("model_version.updated", False),
        ("model_version.tag_deleted", True),
        ("model_version.tag_set", True),
    ]
    assert effects.events[0].data["tags"] == {"kept": "2", "new": "3"}
    assert effects.events[2].data["value"] == "3"


def test_only_a_description_is_a_change_for_mlflow() -> None:
    def changed_at(**what: Any) -> object:  # noqa: ANN401
        outcome = ChangeVersion(**THIRD, **what).decide(seen(), context())
        assert outcome.answer.updated_at == NOW
        return outcome.answer.mlflow_updated_at

    assert changed_at(tags={"a": "1"}) == BEFORE
    assert changed_at(description="better") == NOW


def test_more_tags_than_there_is_room_for_are_refused() -> None:
    full = version(tags={f"t{n}": "" for n in range(MAX_TAGS)})

    with pytest.raises(InvalidInputError, match="must be at most"):
        ChangeVersion(**THIRD, tags={"one more": ""}).decide(
            seen(version=full), context()
        )


def test_text_of_a_prompt_stays_as_it_was_registered() -> None:
    prompt = seen(model=PROMPT, version=version(tags={"mlflow.prompt.text": "Say"}))

    with pytest.raises(InvalidInputError, match="register its next version"):
        ChangeVersion(**THIRD, tags={"mlflow.prompt.text": "Ask"}).decide(
            prompt, context()
        )
    assert ChangeVersion(**THIRD, tags={"a": "1"}).decide(prompt, context()).effects


def test_deleted_version_takes_its_aliases_along() -> None:
    named = version(stage="Archived", aliases=("best",), seal_after=BEFORE)

    effects = written(DeleteVersion(**THIRD).decide(seen(version=named), context()))

    assert effects.removed == [
        AliasRow(model_id="m1", alias="best", version_id="v3", number=3)
    ]
    (row,) = effects.changed
    assert (row.deleted_at, row.exclusive_stage, row.seal_after) == (NOW, None, None)
    assert effects.entry.canonical.count('"after":null') == 1


@pytest.mark.parametrize(
    ("rules", "listed"),
    [(policy(), "Archived, None"), (replace(OPEN, deletable=frozenset()), "no stage")],
    ids=["some", "none"],
)
def test_version_in_a_stage_that_the_policy_protects_stays(
    rules: Any,  # noqa: ANN401
    listed: str,
) -> None:
    with pytest.raises(DeletionRefusedError, match=f"only versions in {listed} may be"):
        DeleteVersion(**THIRD).decide(
            seen(version=version(stage="Production")),
            context(Role.ADMIN, rules=rules),
        )


def test_version_in_use_is_deleted_by_who_may_move_it() -> None:
    serving = seen(version=version(stage="Production"))

    with pytest.raises(PermissionDeniedError, match="versions 3 are in use"):
        DeleteVersion(**THIRD).decide(serving, context(Role.WRITER, rules=OPEN))
    assert DeleteVersion(**THIRD).decide(serving, context(rules=OPEN)).effects
    assert DeleteVersion(**THIRD).decide(seen(), context(Role.WRITER)).effects


def test_version_of_a_prompt_is_deleted_whatever_the_policy_says() -> None:
    protecting = context(rules=replace(OPEN, deletable=frozenset()))

    assert DeleteVersion(**THIRD).decide(seen(model=PROMPT), protecting).effects


@pytest.mark.parametrize("source", [None, "s3://models/artifacts/v3"])
def test_sealed_version_is_ready_with_what_was_found(source: str | None) -> None:
    seal = SealVersion(**THIRD, manifest=MANIFEST, source=source)

    outcome = seal.decide(seen(version=PENDING), context())

    row = outcome.answer
    assert (row.status, row.artifact_digest, row.is_verified) == (
        "READY",
        MANIFEST.digest,
        True,
    )
    assert row.source == source or PENDING.source
    assert written(outcome).added == [
        ManifestRow(version_id="v3", canonical=MANIFEST.canonical)
    ]
    assert written(outcome).changed[1] == DeclaredRow(id="v3", declared_manifest=None)


@pytest.mark.parametrize(
    "command",
    [
        SealVersion(**THIRD, manifest=MANIFEST),
        ScheduleSealing(**THIRD, declared=MANIFEST),
        FailRegistration(**THIRD, reason="gone"),
    ],
    ids=lambda command: type(command).__name__,
)
@pytest.mark.parametrize("status", ["READY", "FAILED_REGISTRATION"])
def test_artifact_that_is_settled_stays(command: SealVersion, status: str) -> None:
    with pytest.raises(ConflictError, match=f"version 3 is {status}: its artifact is"):
        command.decide(seen(version=version(status=status)), context())


def test_artifact_that_is_left_to_the_background_keeps_what_was_declared() -> None:
    outcome = ScheduleSealing(**THIRD, declared=MANIFEST).decide(
        seen(version=PENDING), context()
    )

    assert outcome.answer.seal_after == NOW
    assert outcome.answer.status == "PENDING_REGISTRATION"
    assert written(outcome).changed[1] == DeclaredRow(
        id="v3", declared_manifest=MANIFEST.canonical
    )


@pytest.mark.parametrize("only_unfinished", [False, True])
def test_registration_that_failed_says_why(only_unfinished: bool) -> None:  # noqa: FBT001
    fail = FailRegistration(**THIRD, reason="gone", only_unfinished=only_unfinished)

    row = fail.decide(seen(version=PENDING), context()).answer

    assert (row.status, row.status_message) == ("FAILED_REGISTRATION", "gone")


def test_changed_artifact_is_told_with_what_differs_but_not_without_end() -> None:
    found = [f"file {n} is missing." for n in range(MAX_DIFFERENCES + 1)]

    outcome = MarkArtifactChanged(**THIRD, differences=found).decide(seen(), context())

    assert outcome.answer.artifact_state == "changed"
    ((_, data),) = events(outcome)
    assert (data["differences"], data["verified"]) == (found[:-1], False)


def test_artifact_is_found_whole_only_as_what_it_is_by_then() -> None:
    with pytest.raises(ConflictError, match="has another artifact by now"):
        MarkArtifactVerified(**THIRD, digest="sha256:old").decide(seen(), context())


def test_guarded_alias_goes_with_its_version_by_who_may_remove_it() -> None:
    champion = seen(version=version(aliases=("best", "champion")))
    delete = DeleteVersion(**THIRD)

    with pytest.raises(PermissionDeniedError, match="may not promote"):
        delete.decide(champion, context(Role.WRITER, rules=CHAMPION))
    assert delete.decide(champion, context(rules=CHAMPION)).effects
