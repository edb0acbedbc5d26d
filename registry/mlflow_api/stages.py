"""Stages: the latest version of each, and moves between them.

Rules:

- The policy decides, as everywhere. A refusal is ``INVALID_STATE_TRANSITION`` with
  status 400: clients would repeat a 5xx for four minutes.
- A move to the stage that the version is in already changes and records nothing.
- Who is in an exclusive stage leaves it whatever ``archive_existing_versions`` says.
  In a shared stage the flag decides, and the policy is asked about each who leaves.
"""

from collections.abc import Callable
from urllib.parse import quote

from flask import Blueprint, Response, jsonify, request

from registry.auth.permissions import Permission, requires
from registry.domain.commands.moves import (
    MoveVersion,
    must_be_archived_alone,
)
from registry.domain.policy import ARCHIVED, UNUSED_STAGES, StagePolicy
from registry.domain.rows import VersionRow
from registry.errors import (
    CrowdedStageError,
    InvalidInputError,
    TransitionRefusedError,
    VerificationNeededError,
)
from registry.mlflow_api.documents import Document, full_version_document
from registry.mlflow_api.errors import MlflowError
from registry.mlflow_api.reading import Fields, fields_of, in_field
from registry.mlflow_api.versions import (
    VersionRef,
    asked_for,
    status_of,
    version_answer,
    version_ref,
)
from registry.persistence.database import reading
from registry.persistence.latest import latest_versions
from registry.services.commands import execute
from registry.services.transaction import Transaction
from registry.web.commands import answer_once, parts
from registry.web.verification import commit_move

Answer = Callable[[VersionRow], Document]

#: Each is a change of its own: these hold the lock as long as a hundred that move aside
#: together.
MAX_AT_ONCE = 20

blueprint = Blueprint("stages", __name__, url_prefix="/mlflow")


@blueprint.route("/registered-models/get-latest-versions", methods=["GET", "POST"])
@requires(Permission.READ, model=in_field("name"))
def get_latest_versions() -> Response:
    """Show the version with the highest number of each stage, or of those asked."""
    fields = fields_of(request)
    name = fields.required("name")
    policy = parts().policy.for_model(name)
    wanted = {stage_named(policy, text) for text in fields.texts("stages")}
    stages = [stage for stage in policy.stages if not wanted or stage in wanted]
    versions = latest_versions(reading(), name, stages)
    documents = [full_version_document(version) for version in versions]
    return jsonify({"model_versions": documents} if documents else {})


@blueprint.post("/model-versions/transition-stage")
@requires(Permission.PROMOTE, model=in_field("name"))
def transition_model_version_stage() -> Response:
    """Move a version to another stage."""
    return move_version(fields_of(request), reason="", answer=version_answer)


def move_version(fields: Fields, *, reason: str, answer: Answer) -> Response:
    """Make the move that the fields ask for; the answer is what is true after it.

    Raises:
        RegistryError: as ``MoveVersion``; for a version that is in the stage already
            there is nothing to refuse.
    """
    return answer_once(lambda: _move(fields, reason, answer))


def _move(fields: Fields, reason: str, answer: Answer) -> Response:
    ref = version_ref(fields)
    policy = parts().policy.for_model(ref.model)
    stage = stage_named(policy, fields.required("stage"))
    move = MoveVersion(
        model=ref.model,
        number=ref.number,
        to_stage=stage,
        reason=reason,
        archives_others=archives_others(fields, policy, stage),
        may_be_there=True,
    )
    try:
        return commit_move(
            move, lambda tx, move: _execute_move(tx, move, answer), status=status_of
        )
    except TransitionRefusedError as refusal:
        if refusal.is_rollback_only:
            raise _rollback_only(refusal, ref) from refusal
        raise


def _execute_move(tx: Transaction, move: MoveVersion, answer: Answer) -> Document:
    """Answer with the version in its stage; if asked, others leave it, each alone."""
    moved = execute(tx, move)
    if moved.request:
        return asked_for(moved)
    beside = moved.beside if move.archives_others else ()
    if len(beside) > MAX_AT_ONCE and not move.makes_room:
        raise CrowdedStageError
    for number in beside[:MAX_AT_ONCE]:
        others = MoveVersion(
            model=move.model, number=number, to_stage=ARCHIVED, reason=move.reason
        )
        try:
            is_asked = execute(tx, others).request is not None
        except VerificationNeededError as needed:
            raise must_be_archived_alone(number) from needed
        if is_asked:
            raise must_be_archived_alone(number)
    return answer(moved.version)


def stage_named(policy: StagePolicy, text: str) -> str:
    """Return the stage of that name, in any case.

    Raises:
        InvalidInputError: in MLflow's words.
    """
    try:
        return policy.stage(text)
    except InvalidInputError as error:
        raise InvalidInputError(
            f"Invalid Model Version stage: {text[:80]}. "
            f"Value must be one of {', '.join(policy.stages)}."
        ) from error


def archives_others(fields: Fields, policy: StagePolicy, stage: str) -> bool:
    """Return whether who is in the stage is to be archived.

    Raises:
        InvalidInputError: in MLflow's words, for a stage that nobody is archived from.
    """
    is_asked = fields.flag("archive_existing_versions")
    if is_asked and stage in UNUSED_STAGES:
        raise InvalidInputError(
            "Model version transition cannot archive existing model versions "
            f"because '{stage}' is not an Active stage. Valid stages are "
            f"{', '.join(policy.stages_in_use)}"
        )
    return is_asked


def _rollback_only(refusal: TransitionRefusedError, ref: VersionRef) -> MlflowError:
    path = f"/api/v1/models/{quote(ref.model, safe='')}/rollback"
    return MlflowError(
        "INVALID_STATE_TRANSITION",
        f"{refusal.message}. To roll back: stagegate rollback {ref.model!r} "
        f'--to {ref.number}, or POST {path} with {{"to_version": {ref.number}}}',
    )
