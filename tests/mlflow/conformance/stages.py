"""Stage transitions, the latest versions of a stage aside.

Under the strict policy a move that it does not allow is refused; every case says
what is expected then.
"""

from tests.mlflow.conformance.cases import section
from tests.mlflow.conformance.world import STAGES, World

CASES = section(__name__)

MOVES = tuple((start, end) for start in STAGES for end in STAGES)
REFUSED = "INVALID_STATE_TRANSITION"


@CASES.each(MOVES)
def a_move_is_made_or_refused_as_the_policy_has_it(
    world: World, move: tuple[str, str]
) -> None:
    start, end = move
    version = world.bring(world.version(), start)
    if world.allows(start, end):
        assert world.move(version, end).current_stage == end
        assert world.stage_of(version) == end
    else:
        message = world.refused(REFUSED, world.move, version, end)
        assert start in message
        assert end in message
        assert world.stage_of(version) == start


@CASES.each(("staging", "STAGING", "sTaGiNg"))
def a_stage_may_be_written_in_any_case(world: World, stage: str) -> None:
    version = world.version()
    assert world.move(version, stage).current_stage == "Staging"
    assert world.stage_of(version) == "Staging"


@CASES.each(("Live", "", " ", "Prod", "production ", "0"))
def a_stage_that_is_none_is_refused(world: World, stage: str) -> None:
    version = world.version()
    answer = world.post(
        "/model-versions/transition-stage",
        {
            "name": version.name,
            "version": "1",
            "stage": stage,
            "archive_existing_versions": False,
        },
    )
    answer.refuses(400, "INVALID_PARAMETER_VALUE")
    assert world.stage_of(version) == "None"


@CASES.case
def an_unknown_stage_is_answered_with_those_that_are(world: World) -> None:
    message = world.refused("INVALID_PARAMETER_VALUE", world.move, world.version(), "X")
    assert "Invalid Model Version stage: X." in message
    assert "None, Staging, Production, Archived" in message


@CASES.case
def the_client_asks_for_the_model_first(world: World) -> None:
    version = world.version()
    with world.watched() as seen:
        world.move(version, "Staging")
    assert seen == [
        "GET /registered-models/get",
        "POST /model-versions/transition-stage",
    ]


@CASES.case
def a_version_that_is_not_there_is_404(world: World) -> None:
    name = world.model()
    for model in (name, world.name()):
        answer = world.post(
            "/model-versions/transition-stage",
            {"name": model, "version": "1", "stage": "Staging"},
        )
        answer.refuses(404, "RESOURCE_DOES_NOT_EXIST")


@CASES.each(("name", "version", "stage"))
def a_missing_field_is_named(world: World, field: str) -> None:
    body = {"name": world.version().name, "version": "1", "stage": "Staging"}
    del body[field]
    answer = world.post("/model-versions/transition-stage", body)
    answer.refuses(400, "INVALID_PARAMETER_VALUE", field)


@CASES.each(("true", "false", 1, [True]))
def archiving_must_be_true_or_false(world: World, flag: object) -> None:
    version = world.version()
    answer = world.post(
        "/model-versions/transition-stage",
        {
            "name": version.name,
            "version": "1",
            "stage": "Staging",
            "archive_existing_versions": flag,
        },
    )
    answer.refuses(400, "INVALID_PARAMETER_VALUE")
    assert world.stage_of(version) == "None"


@CASES.case
def archiving_is_off_unless_asked_for(world: World) -> None:
    first = world.bring(world.version(), "Staging")
    second = world.version(first.name)
    body = {"name": first.name, "version": second.version, "stage": "Staging"}
    world.post("/model-versions/transition-stage", body).succeeds()
    assert world.stage_of(first) == "Staging"
    assert world.stage_of(second) == "Staging"


@CASES.case
def archiving_moves_every_other_version_of_the_stage(world: World) -> None:
    name = world.model()
    others = [world.bring(world.version(name), "Staging") for _ in range(3)]
    bystander = world.version(name)
    last = world.version(name)
    moved = world.move(last, "Staging", archive_existing_versions=True)
    assert moved.current_stage == "Staging"
    assert [world.stage_of(version) for version in others] == ["Archived"] * 3
    assert world.stage_of(bystander) == "None"


@CASES.case
def archiving_leaves_the_version_itself(world: World) -> None:
    version = world.bring(world.version(), "Staging")
    moved = world.move(version, "Staging", archive_existing_versions=True)
    assert moved.current_stage == "Staging"


@CASES.case
def archiving_at_a_promotion_leaves_one_in_production(world: World) -> None:
    first = world.bring(world.version(), "Production")
    second = world.bring(world.version(first.name), "Staging")
    world.move(second, "Production", archive_existing_versions=True)
    assert world.stage_of(first) == "Archived"
    assert world.stage_of(second) == "Production"


@CASES.stricter("MLflow lets versions share Production; the default policy does not")
def production_is_shared_only_where_the_policy_lets_it(world: World) -> None:
    first = world.bring(world.version(), "Production")
    second = world.bring(world.version(first.name), "Staging")
    world.move(second, "Production", archive_existing_versions=False)
    expected = "Archived" if world.is_strict else "Production"
    assert world.stage_of(first) == expected
    assert world.stage_of(second) == "Production"


@CASES.each(
    ("None", "Archived"), stricter="MLflow answers 500, which its client sends again"
)
def archiving_for_a_stage_that_is_not_served_is_400(world: World, stage: str) -> None:
    version = world.bring(world.version(), "Staging")
    answer = world.post(
        "/model-versions/transition-stage",
        {
            "name": version.name,
            "version": "1",
            "stage": stage,
            "archive_existing_versions": True,
        },
    )
    if world.is_mlflow:
        assert answer.status == 500
    else:
        assert answer.status == 400, answer
        assert answer.code in {"INVALID_PARAMETER_VALUE", REFUSED}, answer
    assert world.stage_of(version) == "Staging"


@CASES.case
def the_same_stage_again_is_no_error(world: World) -> None:
    version = world.bring(world.version(), "Production")
    assert world.move(version, "Production").current_stage == "Production"


@CASES.case
def a_repeated_transition_has_one_effect(world: World) -> None:
    """As when the client sends again what had been committed."""
    first = world.bring(world.version(), "Production")
    second = world.bring(world.version(first.name), "Staging")
    for _ in range(2):
        world.move(second, "Production", archive_existing_versions=True)
    assert world.stage_of(first) == "Archived"
    assert world.stage_of(second) == "Production"


@CASES.stricter("MLflow has no policy that could refuse")
def a_refusal_is_a_400_that_names_what_is_allowed(world: World) -> None:
    version = world.version()
    answer = world.post(
        "/model-versions/transition-stage",
        {"name": version.name, "version": "1", "stage": "Production"},
    )
    if world.is_strict:
        answer.refuses(400, REFUSED, "Staging")
    else:
        assert answer.document["model_version"]["current_stage"] == "Production"


@CASES.stricter("MLflow has no policy that could refuse")
def the_way_back_to_production_is_a_rollback(world: World) -> None:
    first = world.bring(world.version(), "Production")
    second = world.bring(world.version(first.name), "Staging")
    world.move(second, "Production", archive_existing_versions=True)
    answer = world.post(
        "/model-versions/transition-stage",
        {"name": first.name, "version": first.version, "stage": "Production"},
    )
    if world.is_strict:
        answer.refuses(400, REFUSED)
        assert "rollback" in answer.message.lower() or "roll back" in answer.message
        assert world.stage_of(second) == "Production"
    else:
        assert answer.document["model_version"]["current_stage"] == "Production"
