"""A new version: its number, what is known of its artifact, and of what it copies."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from registry.domain.commands.registration import (
    LinkedSource,
    RegisterVersion,
    VersionDetails,
)
from registry.domain.rows import ManifestRow, StageChangeRow, VersionRow, VersionTagRow
from registry.errors import ConflictError, InvalidInputError
from tests.unit.commands.making import (
    MANIFEST,
    NOW,
    POLICY,
    PROMPT,
    context,
    events,
    seen,
    written,
)

LINK = LinkedSource(source="s3://other/churn", is_readable=True, manifest=MANIFEST)
COPY = replace(LINK, source="models:/base/1", copied_id="v1")


def registration(
    link: LinkedSource | None = None,
    *,
    at_least: int = 1,
    **details: Any,  # noqa: ANN401
) -> RegisterVersion:
    return RegisterVersion(
        model="churn",
        details=VersionDetails(**details),
        link=link,
        artifact_root="s3://models",
        at_least=at_least,
        id="v9",
    )


@pytest.mark.parametrize(("at_least", "number"), [(1, 4), (4, 4), (10, 10)])
def test_number_follows_the_last_one_that_was_given(at_least: int, number: int) -> None:
    outcome = registration(at_least=at_least).decide(seen(), context())

    assert outcome.answer.number == number
    assert written(outcome).model.last_number == number


def test_version_begins_in_none_and_has_a_line_that_says_so() -> None:
    outcome = registration(tags={"a": "1", "no": None}).decide(seen(), context())

    row, tag, line = written(outcome).added
    assert isinstance(row, VersionRow)
    assert tag == VersionTagRow(version_id="v9", key="a", value="1")
    assert isinstance(line, StageChangeRow)
    assert (line.sequence, line.from_stage, line.to_stage, line.cause) == (
        6,
        None,
        "None",
        "registration",
    )
    assert (row.entered, written(outcome).model.last_history) == (6, 6)
    assert written(outcome).changed == []
    ((name, data),) = events(outcome)
    assert (name, data["stage"], data["version"]) == (
        "model_version.registered",
        "None",
        4,
    )


@pytest.mark.parametrize(
    ("link", "status", "state", "seal_after"),
    [
        (None, "PENDING_REGISTRATION", "unverified", None),
        (LINK, "READY", "verified", None),
        (replace(LINK, manifest=None), "PENDING_REGISTRATION", "unverified", NOW),
        (
            replace(LINK, is_readable=False, manifest=None),
            "READY",
            "unverified",
            None,
        ),
    ],
    ids=["upload", "linked", "large", "unreadable"],
)
def test_version_is_ready_once_its_artifact_is_known(
    link: LinkedSource | None, status: str, state: str, seal_after: datetime | None
) -> None:
    outcome = registration(link).decide(seen(), context())

    row = outcome.answer
    assert row.source == (link.source if link else "s3://models/uploads/v9")
    assert (row.status, row.artifact_state, row.seal_after) == (
        status,
        state,
        seal_after,
    )
    kinds = {type(each) for each in written(outcome).added}
    assert (ManifestRow in kinds) == row.is_verified


def test_what_is_said_of_a_version_is_kept_in_one_form() -> None:
    said = registration(
        run_id="r1",
        run={"user": "ann"},
        git_commit="e\u0301",
        params={"e\u0301": "1"},
        metrics={"auc": 0.9},
        datasets=[{"name": "d"}],
    )

    row = said.decide(seen(), context()).answer

    assert (row.run_id, row.run, row.git_commit) == ("r1", {"user": "ann"}, "é")
    assert (row.params, row.metrics, row.datasets) == (
        {"é": "1"},
        {"auc": 0.9},
        [{"name": "d"}],
    )


@pytest.mark.parametrize(
    ("copied", "why"),
    [
        (None, "models:/base/1 was deleted while it was being copied"),
        (("PENDING_REGISTRATION", "unverified"), "only what is READY is copied"),
        (("READY", "changed"), "is not what was registered"),
    ],
    ids=["deleted", "pending", "changed"],
)
def test_copy_is_of_what_is_still_as_it_was_looked_up(
    copied: tuple[str, str] | None, why: str
) -> None:
    assert registration(COPY).want(POLICY).copied == "v1"
    with pytest.raises(ConflictError, match=why):
        registration(COPY).decide(seen(copied=copied), context())
    whole = seen(copied=("READY", "verified"))
    assert registration(COPY).decide(whole, context()).answer.is_verified


def test_prompts_and_models_take_no_versions_of_each_other() -> None:
    tags = {"mlflow.prompt.is_prompt": "true", "mlflow.prompt.text": "Say"}

    with pytest.raises(InvalidInputError, match="is a model, and takes no version"):
        registration(tags=tags).decide(seen(), context())
    with pytest.raises(InvalidInputError, match="is a prompt, and takes no version"):
        registration().decide(seen(model=PROMPT), context())
    ((name, data),) = events(
        registration(tags=tags).decide(seen(model=PROMPT), context())
    )
    assert (name, data["template"]) == ("prompt_version.created", "Say")
