"""Stages: the latest version of each, and moves between them.

Rules (design, section 4; protocol reference, section 4):

- The policy decides, as everywhere. A refusal is ``INVALID_STATE_TRANSITION`` with
  status 400: clients would repeat a 5xx for four minutes.
- A move to the stage that the version is in already changes and records nothing.
- Who is in an exclusive stage leaves it whatever ``archive_existing_versions`` says.
  In a shared stage the flag decides, and the policy is asked about each who leaves.
"""

from collections.abc import Callable
from urllib.parse import quote

from flask import Blueprint, Response, jsonify, request
from sqlalchemy.orm import Session

from registry.auth.permissions import Permission, requires
from registry.domain.policy import ARCHIVED, NONE, StagePolicy
from registry.errors import (
    InvalidInputError,
    PromptStageError,
    TransitionRefusedError,
)
from registry.mlflow_api.documents import Document, full_version_document
from registry.mlflow_api.errors import MlflowError
from registry.mlflow_api.reading import Fields, fields_of
from registry.mlflow_api.versions import version_answer, version_ref
from registry.persistence.database import db
from registry.persistence.latest import latest_versions
from registry.services import transitions
from registry.services.archiving import archive_first_others, archive_others
from registry.services.transaction import Transaction
from registry.services.transitions import MoveRequest
from registry.services.versions import VersionRef
from registry.web.changing import answer_once, commit_with_room, parts
from registry.web.verification import verified_move

Answer = Callable[[Session, VersionRef], Document]

blueprint = Blueprint("stages", __name__, url_prefix="/mlflow")


@blueprint.route("/registered-models/get-latest-versions", methods=["GET", "POST"])
@requires(Permission.READ)
def get_latest_versions() -> Response:
    """Show the version with the highest number of each stage, or of those asked."""
    fields = fields_of(request)
    name = fields.required("name")
    policy = parts().policy.for_model(name)
    asked = {stage_named(policy, text) for text in fields.texts("stages")}
    stages = [stage for stage in policy.stages if not asked or stage in asked]
    found = latest_versions(db.session(), name, stages)
    documents = [full_version_document(name, version) for version in found]
    return jsonify({"model_versions": documents} if documents else {})


@blueprint.post("/model-versions/transition-stage")
@requires(Permission.PROMOTE)
def transition_model_version_stage() -> Response:
    """Move a version to another stage."""
    return moved(fields_of(request), reason="", answer=version_answer)


def moved(fields: Fields, *, reason: str, answer: Answer) -> Response:
    """Make the move that the fields ask for; the answer is what is true after it.

    Raises:
        RegistryError: as ``transitions.move_version``, but for a version that is
            in the stage already.
    """
    return answer_once(lambda: _moved(fields, reason, answer))


def _moved(fields: Fields, reason: str, answer: Answer) -> Response:
    ref = version_ref(fields)
    policy = parts().policy.for_model(ref.model)
    stage = stage_named(policy, fields.required("stage"))
    archives_others = _archives_others(fields, policy, stage)
    move = MoveRequest(
        model=ref.model,
        number=ref.number,
        to_stage=stage,
        reason=reason,
        archives_others=archives_others,
    )
    try:
        return _carried_out(move, ref, answer)
    except PromptStageError:
        raise
    except TransitionRefusedError as refusal:
        if refusal.is_rollback_only:
            raise _rollback_only(refusal, ref) from refusal
        if refusal.from_stage != refusal.to_stage:
            raise
    return _already_there(move, ref, answer)


def stage_named(policy: StagePolicy, text: str) -> str:
    """The stage of that name, in any case.

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


def _archives_others(fields: Fields, policy: StagePolicy, stage: str) -> bool:
    archives_others = fields.flag("archive_existing_versions")
    if archives_others and stage in {NONE, ARCHIVED}:
        active = [each for each in policy.stages if each not in {NONE, ARCHIVED}]
        raise InvalidInputError(
            "Model version transition cannot archive existing model versions "
            f"because '{stage}' is not an Active stage. Valid stages are "
            f"{', '.join(active)}"
        )
    return archives_others


def _carried_out(move: MoveRequest, ref: VersionRef, answer: Answer) -> Response:
    verified = verified_move(move)

    def work(tx: Transaction) -> Document:
        transitions.move_version(tx, verified)
        return answer(tx.session, ref)

    return commit_with_room(work, lambda tx: transitions.make_room(tx, verified))


def _already_there(move: MoveRequest, ref: VersionRef, answer: Answer) -> Response:
    """The version stays where it is; those beside it leave when that was asked."""

    def work(tx: Transaction) -> Document:
        if move.archives_others:
            archive_others(tx, ref, move.to_stage, move.reason)
        return answer(tx.session, ref)

    def make_room(tx: Transaction) -> None:
        archive_first_others(tx, ref, move.to_stage, move.reason)

    return commit_with_room(work, make_room)


def _rollback_only(refusal: TransitionRefusedError, ref: VersionRef) -> MlflowError:
    path = f"/api/v1/models/{quote(ref.model, safe='')}/rollback"
    return MlflowError(
        "INVALID_STATE_TRANSITION",
        f"{refusal.message}. To roll back: stagegate rollback {ref.model!r} "
        f'--to {ref.number}, or POST {path} with {{"to_version": {ref.number}}}',
    )
