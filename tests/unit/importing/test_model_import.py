"""One model is brought here: what is copied, kept, refused and told."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from registry.errors import (
    ArtifactChangedError,
    ArtifactStoreError,
    InvalidInputError,
    NotSignedInError,
    RegistryError,
    StaleExpectationError,
    TransitionRefusedError,
)
from registry.importing.report import Count, Kind, Report
from registry.importing.states import (
    PLACEHOLDER_TAG,
    PROMPT_TAG,
    SOURCE_TAG,
    Rules,
)
from tests.unit.importing.world import (
    STRICT,
    World,
    source_model,
    source_version,
    target_model,
    target_version,
)

Refusal = Callable[[str, int | None], RegistryError | None]


def told(report: Report, kind: Kind) -> list[tuple[int | None, str]]:
    return [(one.version, one.reason) for one in report.findings if one.kind is kind]


def refusing(what: str, number: int | None, error: RegistryError) -> Refusal:
    def refusal(asked: str, of: int | None) -> RegistryError | None:
        return error if (asked, of) == (what, number) else None

    return refusal


def test_a_number_that_is_missing_at_the_source_is_left_empty() -> None:
    world = World()

    report = world.run(source_model({2: "None", 5: "None"}))

    assert sorted(world.here.versions) == [2, 5]
    assert world.here.last_number == 5
    assert report.counts[Count.NUMBERS_LEFT_EMPTY] == 3


def test_numbers_behind_the_last_version_are_not_touched() -> None:
    """Which of them were given at the source cannot be known."""
    world = World()

    world.run(source_model({1: "None"}))

    assert world.here.last_number == 1


def test_a_placeholder_that_was_left_behind_is_removed() -> None:
    left = target_version(1, tags={PLACEHOLDER_TAG: "http://mlflow.example"})
    world = World(model=target_model(left))

    report = world.run(source_model({2: "None"}))

    assert sorted(world.here.versions) == [2]
    assert report.counts[Count.NUMBERS_LEFT_EMPTY] == 1
    assert not report.has(Kind.CONFLICT)


def test_versions_behind_a_refused_one_wait() -> None:
    error = InvalidInputError("there is no artifact at s3://gone")
    world = World(refusal=refusing("register", 2, error))

    report = world.run(source_model({1: "None", 2: "None", 3: "None", 4: "None"}))

    assert sorted(world.here.versions) == [1]
    assert told(report, Kind.REFUSED) == [
        (2, "there is no artifact at s3://gone"),
        (3, "waits for version 2"),
        (4, "waits for version 2"),
    ]


def test_the_number_of_a_refused_version_can_be_given_up() -> None:
    error = InvalidInputError("there is no artifact at s3://gone")
    world = World(refusal=refusing("register", 2, error))
    source = source_model({1: "None", 2: "None", 3: "None"})

    first = world.run(source, skip_refused=True)
    again = world.run(source)

    assert sorted(world.here.versions) == [1, 3]
    assert told(first, Kind.REFUSED) == [(2, "there is no artifact at s3://gone")]
    assert told(again, Kind.CONFLICT) == [
        (2, "number 2 was given here before and is free no more")
    ]


def test_a_fault_that_may_pass_gives_up_no_number() -> None:
    error = ArtifactStoreError("the store does not answer")
    world = World(refusal=refusing("register", 1, error))

    report = world.run(source_model({1: "None", 2: "None"}), skip_refused=True)

    assert world.here.last_number == 0
    assert told(report, Kind.REFUSED) == [
        (1, "the store does not answer"),
        (2, "waits for version 1"),
    ]


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        (
            {"status": "PENDING_REGISTRATION"},
            "it is PENDING_REGISTRATION at the source",
        ),
        ({"source": "/mlruns/1/abc/artifacts/model"}, "local path of the other server"),
        ({"source": "file:///mlruns/1"}, "local path of the other server"),
        ({"source": "C:\\models"}, "local path of the other server"),
        ({"source": "relative/with:colon"}, "local path of the other server"),
    ],
)
def test_what_cannot_be_registered_is_told_without_asking(
    members: dict[str, str], reason: str
) -> None:
    world = World()

    report = world.run(source_model({}, source_version(1, **members)))

    assert world.changes == [("create", None)]
    ((number, told_reason),) = told(report, Kind.REFUSED)
    assert number == 1
    assert reason in told_reason


def test_a_policy_that_lets_nothing_be_deleted_keeps_later_versions_out() -> None:
    rules = Rules(transitions=STRICT.transitions, deletable=frozenset())
    world = World(rules)

    report = world.run(source_model({1: "None", 3: "None", 4: "None"}))

    assert sorted(world.here.versions) == [1]
    assert world.here.last_number == 1
    (first, second) = told(report, Kind.REFUSED)
    assert first[0] == 3
    assert "number 2 would have to be left empty" in first[1]
    assert second == (4, "waits for version 3")


def test_a_version_of_another_source_is_a_conflict_and_stays() -> None:
    other = target_version(1, "Staging", source="s3://other")
    world = World(model=target_model(other))

    report = world.run(source_model({1: "Production", 2: "None"}))

    assert world.here.versions[1] == other
    assert sorted(world.here.versions) == [1, 2]
    assert told(report, Kind.CONFLICT) == [
        (1, "lies at s3://other here, at s3://models/fraud/1 there")
    ]


def test_a_version_whose_artifact_was_found_behind_its_source_is_the_same() -> None:
    resolved = target_version(
        1, source="s3://bytes", tags={SOURCE_TAG: "s3://models/fraud/1"}
    )
    world = World(model=target_model(resolved))

    report = world.run(source_model({1: "None"}))

    assert report.changes == 0
    assert report.findings == []


def test_what_is_missing_is_added_and_what_differs_stays() -> None:
    here = target_version(1, tags={"owner": "us"}, description="ours")
    world = World(model=target_model(here, tags={"team": "ours"}))
    version = source_version(
        1, tags={"owner": "them", "auc": "0.9"}, description="theirs"
    )

    report = world.run(
        source_model({}, version, tags={"team": "theirs"}, description="a model")
    )

    assert world.here.description == "a model"
    assert world.here.tags == {"team": "ours"}
    assert world.here.versions[1].tags == {"owner": "us", "auc": "0.9"}
    assert world.here.versions[1].description == "ours"
    assert report.counts[Count.DESCRIBED] == 2
    assert told(report, Kind.CONFLICT) == [
        (None, "tag team has another value here"),
        (1, "is described otherwise here"),
        (1, "tag owner has another value here"),
    ]


def test_aliases_are_set_unless_they_point_elsewhere_or_at_nothing() -> None:
    other = target_version(3, source="s3://other")
    world = World(
        model=target_model(
            target_version(1),
            target_version(2),
            other,
            aliases={"champion": 1, "same": 3},
        )
    )
    aliases = {"champion": 2, "shadow": 2, "broken": 3, "same": 3}

    report = world.run(source_model({1: "None", 2: "None", 3: "None"}, aliases=aliases))

    assert world.here.aliases == {"champion": 1, "same": 3, "shadow": 2}
    assert told(report, Kind.CONFLICT) == [
        (3, "lies at s3://other here, at s3://models/fraud/3 there"),
        (2, "alias champion points at version 1 here, at 2 there"),
    ]
    assert told(report, Kind.REFUSED) == [(3, "alias broken: version 3 was not copied")]


def test_a_gate_that_refuses_leaves_the_version_where_it_got_to() -> None:
    refused = TransitionRefusedError(
        "tag 'approved' is missing", from_stage="None", to_stage="Staging", allowed=()
    )
    world = World(refusal=refusing("move", 1, refused))

    report = world.run(source_model({1: "Production", 2: "Staging"}))

    assert world.stages == {1: "None", 2: "Staging"}
    assert told(report, Kind.REFUSED) == [(1, "tag 'approved' is missing")]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (StaleExpectationError("found version 9"), Kind.CONFLICT),
        (ArtifactChangedError("it has changed"), Kind.REFUSED),
    ],
)
def test_a_move_that_fails_is_a_conflict_or_a_refusal(
    error: RegistryError, kind: Kind
) -> None:
    world = World(refusal=refusing("move", 1, error))

    report = world.run(source_model({1: "Staging"}))

    assert told(report, kind) == [(1, error.message)]


def test_only_a_version_that_is_still_checked_is_waited_for_before_it_moves() -> None:
    pending = [target_version(n, status="PENDING_REGISTRATION") for n in (1, 2)]
    world = World(model=target_model(*pending, target_version(3)))

    world.run(source_model({1: "None", 2: "Staging", 3: "Staging"}))

    assert world.waited_for == [2]
    assert world.stages == {1: "None", 2: "Staging", 3: "Staging"}


def test_a_model_that_is_refused_ends_there() -> None:
    world = World(refusal=refusing("create", None, InvalidInputError("bad name")))

    report = world.run(source_model({1: "Staging"}))

    assert world.model is None
    assert told(report, Kind.REFUSED) == [(None, "bad name")]


@pytest.mark.parametrize("what", ["create", "register", "move", "alias"])
def test_without_a_sign_in_the_whole_run_ends(what: str) -> None:
    number = None if what == "create" else 1
    world = World(refusal=refusing(what, number, NotSignedInError()))

    with pytest.raises(NotSignedInError):
        world.run(source_model({1: "Staging"}, aliases={"a": 1}))


def test_a_description_and_a_removal_that_are_refused_are_told() -> None:
    left = target_version(1, tags={PLACEHOLDER_TAG: "x"})

    def refusal(what: str, _number: int | None) -> RegistryError | None:
        is_refused = what in {"describe", "remove"}
        return InvalidInputError(f"no {what}") if is_refused else None

    world = World(model=target_model(left), refusal=refusal)

    report = world.run(source_model({2: "None"}, description="text"))

    assert told(report, Kind.REFUSED) == [(None, "no describe"), (1, "no remove")]
    assert sorted(world.here.versions) == [1, 2]


def test_who_is_superseded_by_the_import_is_not_counted_as_unchanged() -> None:
    world = World(model=target_model(target_version(1, "Production")))

    report = world.run(source_model({1: "Archived", 2: "Production"}))

    assert world.stages == {1: "Archived", 2: "Production"}
    assert report.counts[Count.VERSIONS_UNCHANGED] == 0
    assert report.counts[Count.STAGE_CHANGES] == 2


PROMPT = {PROMPT_TAG: "true"}


def test_a_prompt_is_copied_without_a_place_or_stages() -> None:
    world = World()
    text = {**PROMPT, "mlflow.prompt.text": "Hello"}
    versions = [
        source_version(number, stage, source="dummy-source", tags=text)
        for number, stage in ((1, "None"), (3, "Production"))
    ]

    report = world.run(
        source_model({}, *versions, aliases={"champion": 3}, tags=PROMPT)
    )

    assert report.findings == []
    assert world.stages == {1: "None", 3: "None"}
    assert world.here.aliases == {"champion": 3}
    assert world.here.versions[3].tags["mlflow.prompt.text"] == "Hello"
    assert ("register", 2) in world.changes  # and not an upload that never comes
    assert ("remove", 2) in world.changes
    assert report.counts[Count.NUMBERS_LEFT_EMPTY] == 1
    assert world.run(source_model({}, *versions, tags=PROMPT)).changes == 0


def test_a_number_of_a_prompt_is_left_empty_whatever_the_policy_protects() -> None:
    version = source_version(2, source="prompt-template", tags=PROMPT)
    rules = replace(STRICT, deletable=frozenset())
    world = World(rules=rules)

    report = world.run(source_model({}, version, tags=PROMPT))

    assert report.findings == []
    assert sorted(world.here.versions) == [2]


@pytest.mark.parametrize("there", [PROMPT, {}])
def test_a_prompt_and_a_model_of_one_name_are_a_conflict(there: dict[str, str]) -> None:
    here = PROMPT if not there else {}
    world = World(model=target_model(tags=here))

    report = world.run(source_model({1: "None"}, tags=there))

    kind = "prompt" if there else "model"
    assert told(report, Kind.CONFLICT) == [
        (None, f"is a {kind} there, and is none here")
    ]
    assert world.changes == []
