"""One command of each kind, and what it was shown, so that it changes something."""

from dataclasses import replace
from typing import Any

from registry.domain.commands.aliases import DeleteAlias, SetAlias
from registry.domain.commands.change import Command, DeploymentFacts, Snapshot
from registry.domain.commands.checks import ReportCheck
from registry.domain.commands.comments import CreateComment, EditComment
from registry.domain.commands.deployments import ReportDeployment
from registry.domain.commands.holds import LiftHold, SetHold
from registry.domain.commands.models import ChangeModel, DeleteModel
from registry.domain.commands.moves import MoveVersion
from registry.domain.commands.registration import RegisterVersion, VersionDetails
from registry.domain.commands.requests import (
    ApproveRequest,
    CloseRequest,
    RequestMove,
)
from registry.domain.commands.versions import (
    ChangeVersion,
    DeleteVersion,
    FailRegistration,
    MarkArtifactChanged,
    MarkArtifactVerified,
    ScheduleSealing,
    SealVersion,
)
from registry.domain.documents import DeploymentStatus
from registry.domain.requests import RequestState
from registry.domain.rows import CheckStatus
from tests.unit.commands.making import (
    ALIAS,
    ASKED,
    COMMENT,
    DIGEST,
    ENTERED,
    HOLD,
    MANIFEST,
    MODEL,
    POLICY,
    seen,
    version,
)

Case = tuple[Command[Any], Snapshot]

THIRD: dict[str, Any] = {"model": "churn", "number": 3}
PENDING = version(
    status="PENDING_REGISTRATION", artifact_state="unverified", artifact_digest=None
)
MOVE = MoveVersion(**THIRD, to_stage="Staging", verified_digest=DIGEST)
STAGED = version(stage="Staging")
STANDING = replace(ASKED, policy_digest=POLICY.digest)
ASKED_OF_TWO = replace(STANDING, needed=2)
APPROVE = ApproveRequest(
    model="churn", request="req_1", move=replace(MOVE, to_stage="Production")
)
REPORT = ReportDeployment(**THIRD, status=DeploymentStatus.PENDING, environment="eu")

#: Each accepts ``if_match``.
OF_VERSIONS: dict[str, Case] = {
    "described": (ChangeVersion(**THIRD, description="better"), seen()),
    "deleted": (DeleteVersion(**THIRD), seen(version=version(aliases=("best",)))),
    "sealed": (SealVersion(**THIRD, manifest=MANIFEST), seen(version=PENDING)),
    "scheduled": (ScheduleSealing(**THIRD, declared=MANIFEST), seen(version=PENDING)),
    "failed": (FailRegistration(**THIRD, reason="gone"), seen(version=PENDING)),
    "found changed": (MarkArtifactChanged(**THIRD, differences=["a is gone"]), seen()),
    "found whole": (
        MarkArtifactVerified(**THIRD, digest=DIGEST),
        seen(version=version(artifact_state="changed")),
    ),
    "moved": (MOVE, seen()),
}
#: Each is about a version, which must be there.
ABOUT_VERSIONS: dict[str, Case] = {
    **OF_VERSIONS,
    "alias set": (SetAlias(**THIRD, alias="best"), seen()),
    "commented": (CreateComment(**THIRD, text="well", new_id=lambda _: "c1"), seen()),
    "check reported": (
        ReportCheck(**THIRD, name="tests", status=CheckStatus.PASSED),
        seen(),
    ),
    "asked for": (RequestMove(**THIRD, to_stage="Staging"), seen()),
    "reported": (REPORT, seen(deployment=DeploymentFacts(present=ENTERED))),
}
EVERY: dict[str, Case] = {
    **ABOUT_VERSIONS,
    "alias deleted": (DeleteAlias(model="churn", alias="best"), seen(alias=ALIAS)),
    "comment edited": (
        EditComment(model="churn", comment="c1", text="better"),
        seen(comment=COMMENT),
    ),
    "comment removed": (
        EditComment(model="churn", comment="c1", text=None),
        seen(comment=COMMENT),
    ),
    "approved": (APPROVE, seen(request=ASKED_OF_TWO, version=STAGED)),
    "approved at last": (APPROVE, seen(request=STANDING, version=STAGED)),
    "rejected": (
        CloseRequest(model="churn", request="req_1", state=RequestState.REJECTED),
        seen(request=STANDING, version=STAGED),
    ),
    "held": (SetHold(model="churn", stage="Production", reason="audit"), seen()),
    "lifted": (
        LiftHold(model="churn", stage="Production"),
        seen(model=replace(MODEL, holds=[HOLD.document])),
    ),
    "model described": (ChangeModel(model="churn", description="whether"), seen()),
    "model renamed": (ChangeModel(model="churn", name="loss"), seen()),
    "model deleted": (DeleteModel(model="churn"), seen()),
    "registered": (
        RegisterVersion(
            model="churn",
            details=VersionDetails(),
            link=None,
            artifact_root="s3://models",
        ),
        seen(),
    ),
}
#: Each finds that what it asks for is so already.
IDLE: dict[str, Case] = {
    "alias gone": (DeleteAlias(model="churn", alias="best", may_be_gone=True), seen()),
    "model untagged": (
        ChangeModel(model="churn", tags={"a": None}, is_idle_without_tags=True),
        seen(),
    ),
    "untagged": (
        ChangeVersion(**THIRD, tags={"a": None}, is_idle_without_tags=True),
        seen(),
    ),
    "sealed alike": (
        SealVersion(**THIRD, manifest=MANIFEST),
        seen(version=version(artifact_digest=MANIFEST.digest)),
    ),
    "finalized meanwhile": (
        FailRegistration(**THIRD, reason="late", only_unfinished=True),
        seen(version=replace(PENDING, seal_after=PENDING.created_at)),
    ),
    "known as changed": (
        MarkArtifactChanged(**THIRD, differences=["a is gone"]),
        seen(version=version(artifact_state="changed")),
    ),
    "known as whole": (MarkArtifactVerified(**THIRD, digest=DIGEST), seen()),
    "in the stage": (
        replace(MOVE, may_be_there=True),
        seen(version=version(stage="Staging")),
    ),
    "asked already": (
        RequestMove(**THIRD, to_stage="Production"),
        seen(request=STANDING, version=STAGED),
    ),
    "room enough": (
        MoveVersion(
            **THIRD, to_stage="Production", verified_digest=DIGEST, makes_room=True
        ),
        seen(version=version(stage="Staging"), in_stage=[version(1, "Production")]),
    ),
}
