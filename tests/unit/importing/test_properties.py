"""What holds of every import, whatever there is at the source and here."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import RegistryError, TransitionRefusedError
from registry.importing.report import Kind
from registry.importing.states import Rules, SourceModel, TargetModel
from tests.unit.importing.world import (
    OPEN,
    STAGES,
    STRICT,
    BrokenOffError,
    World,
    source_model,
    target_model,
    target_version,
)

NUMBERS = st.integers(1, 7)
STAGE = st.sampled_from(STAGES)


@st.composite
def sources(draw: st.DrawFn) -> SourceModel:
    stages = draw(st.dictionaries(NUMBERS, STAGE, max_size=7))
    aliases: dict[str, int] = {}
    if stages:
        targets = st.sampled_from(sorted(stages))
        aliases = draw(st.dictionaries(st.sampled_from("abc"), targets))
    return source_model(stages, aliases=aliases, tags={"team": "risk"})


@st.composite
def rules(draw: st.DrawFn) -> Rules:
    """Policies of all kinds, sound or not."""
    found = {
        stage: draw(
            st.lists(
                st.sampled_from([one for one in STAGES if one != stage]), unique=True
            )
        )
        for stage in STAGES
    }
    return Rules(
        transitions={stage: tuple(reached) for stage, reached in found.items()},
        exclusive=draw(
            st.sampled_from(
                [
                    {},
                    {"Production": "Archived"},
                    {"Staging": "None", "Production": "Archived"},
                ]
            )
        ),
        deletable=frozenset(draw(st.sets(STAGE)) | {"None"}),
    )


@st.composite
def models_here(draw: st.DrawFn, under: Rules) -> TargetModel | None:
    """A model that others have worked on: other sources, own moves, deletions."""
    if draw(st.booleans()):
        return None
    versions = []
    held: set[str] = set()
    last_number = draw(st.integers(0, 7))
    for number in range(1, last_number + 1):
        stage = draw(st.sampled_from([one for one in STAGES if one not in held]))
        held |= {stage} & under.exclusive.keys()
        other = {"source": "s3://other"} if draw(st.booleans()) else {}
        one = target_version(number, stage, is_ours=draw(st.booleans()), **other)
        if draw(st.integers(0, 4)):
            versions.append(one)
    return target_model(
        *versions,
        last_number=last_number,
        tags=draw(st.sampled_from([{}, {"team": "other"}])),
    )


def expected_stages(stages: Mapping[int, str]) -> dict[int, str]:
    """Where versions end under the strict policy: the highest stays in Production."""
    highest = max((n for n, at in stages.items() if at == "Production"), default=0)
    return {
        number: "Archived" if at == "Production" and number != highest else at
        for number, at in stages.items()
    }


def stages_of(source: SourceModel) -> dict[int, str]:
    return {number: one.stage for number, one in source.versions.items()}


@given(sources())
def test_an_empty_registry_under_the_default_policy_becomes_the_source(
    source: SourceModel,
) -> None:
    world = World(STRICT)

    report = world.run(source)

    assert world.stages == expected_stages(stages_of(source))
    assert world.here.aliases == source.aliases
    assert world.here.last_number == max(source.versions, default=0)
    assert {one.kind for one in report.findings} <= {Kind.NOTE}


@given(sources())
def test_an_empty_registry_under_the_open_policy_becomes_the_source_exactly(
    source: SourceModel,
) -> None:
    world = World(OPEN)

    report = world.run(source)

    assert world.stages == stages_of(source)
    assert report.findings == []


@given(sources(), rules(), st.data())
def test_whatever_is_here_a_second_run_changes_nothing(
    source: SourceModel, policy: Rules, data: st.DataObject
) -> None:
    world = World(policy, data.draw(models_here(policy)))
    world.run(source)
    changes = list(world.changes)

    second = world.run(source)

    assert world.changes == changes
    assert second.changes == 0


@given(sources(), rules(), st.data())
def test_what_others_have_made_or_moved_here_stays_as_it_is(
    source: SourceModel, policy: Rules, data: st.DataObject
) -> None:
    before = data.draw(models_here(policy))
    world = World(policy, before)

    world.run(source)  # the world itself refuses to move what others have moved

    for number, one in (before.versions if before else {}).items():
        is_other = one.source == "s3://other" or number not in source.versions
        if is_other and not one.is_ours:
            assert world.here.versions[number] == one
        assert world.here.versions[number].source == one.source


@given(sources(), st.integers(0, 40), st.sampled_from([STRICT, OPEN]))
def test_an_import_that_is_killed_anywhere_is_continued(
    source: SourceModel, after: int, policy: Rules
) -> None:
    whole = World(policy)
    whole.run(source)
    world = World(policy, breaks_off_after=after)
    if after < len(whole.changes):
        with pytest.raises(BrokenOffError):
            world.run(source)
    world.breaks_off_after = None

    report = world.run(source)

    assert world.here == whole.here
    assert not report.has(Kind.CONFLICT)
    assert not report.has(Kind.REFUSED)


@given(
    sources(),
    st.sets(st.tuples(st.sampled_from(["register", "move", "alias"]), NUMBERS)),
)
def test_a_refusal_is_told_and_everything_else_goes_on(
    source: SourceModel, refused: set[tuple[str, int]]
) -> None:
    def refusal(what: str, number: int | None) -> RegistryError | None:
        is_refused = number is not None and (what, number) in refused
        return _refusal() if is_refused else None

    world = World(STRICT, refusal=refusal)

    report = world.run(source)

    told = {one.version for one in report.findings if one.kind is Kind.REFUSED}
    for number, at in expected_stages(stages_of(source)).items():
        is_here = world.here.versions.get(number)
        is_right = is_here is not None and is_here.stage == at
        in_its_place = at == "Archived" and number not in told
        assert is_right or number in told or in_its_place
    numbers = [one.number for one in world.here.versions.values()]
    assert set(numbers) <= set(source.versions)
    held = [one for one in world.here.versions.values() if one.stage == "Production"]
    assert len(held) <= 1


def _refusal() -> RegistryError:
    return TransitionRefusedError("no", from_stage="", to_stage="", allowed=())
