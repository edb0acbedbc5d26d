"""The events of models, versions and prompts: their types, and what each says.

An event's data are the members of all its parts. Where a change is made
(``domain.commands``) they are written as these types; the schemas that
``/api/v1/event-types`` shows are made of them. Those about deliveries are declared in
``webhooks.events``.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypedDict

from registry.domain import prompts
from registry.domain.documents import (
    ActorDocument,
    CheckDocument,
    DeploymentDocument,
    RequestDocument,
)
from registry.domain.holds import HoldDocument
from registry.domain.policy import Cause
from registry.domain.rows import VersionStatus
from registry.domain.timestamps import Instant

MODEL_CREATED = "registered_model.created"
MODEL_UPDATED = "registered_model.updated"
MODEL_RENAMED = "registered_model.renamed"
MODEL_DELETED = "registered_model.deleted"
REGISTERED = "model_version.registered"
UPDATED = "model_version.updated"
DELETED = "model_version.deleted"
ARTIFACT_CHANGED = "model_version.artifact_changed"
STAGE_CHANGED = "model_version.stage_changed"
ALIAS_SET = "model_version.alias_set"
ALIAS_DELETED = "model_version.alias_deleted"
DEPLOYMENT_UPDATED = "deployment.updated"
TAG_SET = "model_version.tag_set"
TAG_DELETED = "model_version.tag_deleted"
COMMENTED = "model_version.commented"
COMMENT_UPDATED = "model_version.comment_updated"
COMMENT_DELETED = "model_version.comment_deleted"
CHECK_REPORTED = "model_version.check_reported"
BROKE_GLASS = "model_version.broke_glass"
HOLD_SET = "registered_model.hold_set"
HOLD_LIFTED = "registered_model.hold_lifted"
REQUEST_CREATED = "transition_request.created"
REQUEST_UPDATED = "transition_request.updated"
REQUEST_APPROVED = "transition_request.approved"
REQUEST_REJECTED = "transition_request.rejected"
REQUEST_CANCELLED = "transition_request.cancelled"
PROMPT_TAG_SET = "prompt.tag_set"
PROMPT_TAG_DELETED = "prompt.tag_deleted"


class About(TypedDict):
    """What every event of a model says."""

    model: str
    sequence: Annotated[int, "counts the model's events without gap"]
    actor: ActorDocument


class Links(TypedDict, total=False):
    """Where more is to be read, and to be reported; none without a public address."""

    version: str
    deployments: str
    page: Annotated[str, "for people"]


class AboutVersion(TypedDict):
    """Which version it is about."""

    version: int
    links: Links


class Version(AboutVersion):
    """A version as it is from now on."""

    stage: str
    status: Annotated[str, VersionStatus]
    source: str
    download_uri: Annotated[str, "where the bytes are"]
    artifact_digest: str | None
    verified: bool
    run_id: str | None
    tags: Mapping[str, str]
    updated_at: Instant


class PromptVersion(AboutVersion, prompts.Content):
    """A prompt's version, which has neither stages nor an artifact."""

    updated_at: Instant


class Model(TypedDict):
    """A model as it is from now on."""

    description: str
    tags: Mapping[str, str]


class Renamed(Model):
    """And the name that it had."""

    previous_name: str


class Described(TypedDict):
    """What is said of the version."""

    description: str


class StageChange(TypedDict):
    """A version that entered a stage."""

    from_stage: str
    to_stage: str
    cause: Annotated[str, Cause]
    transition_id: str
    previous_version: Annotated[int | None, "the last one that left the stage for it"]
    reason: str
    request_id: Annotated[str | None, "the request that was approved for it"]
    held: Annotated[bool, "whether the stage is held since then"]


class ArtifactChange(TypedDict):
    """In what its artifact is no longer what was registered."""

    differences: Sequence[str]


class Alias(TypedDict):
    """The alias that points elsewhere from now on, or nowhere."""

    alias: str


class AliasSet(Alias):
    """And where it pointed before."""

    previous_version: int | None


class Deployment(TypedDict):
    """What was reported of a stage change."""

    transition_id: str | None
    deployment: DeploymentDocument


class Request(TypedDict):
    """How a transition request stands; the stages are those of its move."""

    from_stage: str
    to_stage: str
    request: RequestDocument


def told_of(request: RequestDocument) -> Request:
    """Return what an event tells of a request; its stage is one to filter by."""
    return {
        "from_stage": request["from_stage"],
        "to_stage": request["to_stage"],
        "request": request,
    }


class Check(TypedDict):
    """What came of a check."""

    check: CheckDocument


class BrokenGlass(TypedDict):
    """Which gates a move went past."""

    transition_id: str
    gates: Annotated[Sequence[str], "why each would have refused it"]
    reason: str


class Held(TypedDict):
    """What keeps versions out of a stage, from now on or no longer."""

    hold: HoldDocument


class Tag(TypedDict):
    """The tag that goes, or is set."""

    key: str


class TagSet(Tag):
    """And to what."""

    value: str


class Comment(TypedDict):
    """The comment that goes, or is written."""

    comment_id: str
    author: str


class CommentText(Comment):
    """And what it says."""

    comment: str


Parts = tuple[Any, ...]  #: types of this page, or unions of them
_OF_REQUESTS = (
    REQUEST_CREATED,
    REQUEST_UPDATED,
    REQUEST_APPROVED,
    REQUEST_REJECTED,
    REQUEST_CANCELLED,
)
_TO_ALL: Mapping[str, Parts] = {
    MODEL_CREATED: (Model,),
    MODEL_UPDATED: (Model,),
    MODEL_RENAMED: (Renamed,),
    MODEL_DELETED: (),
    REGISTERED: (Version, Described),
    UPDATED: (Version, Described),
    DELETED: (Version,),
    ALIAS_SET: (Version, AliasSet),
    ALIAS_DELETED: (Version, Alias),
    CHECK_REPORTED: (Version, Check),
}
_TO_WHO_NAMES_IT: Mapping[str, Parts] = {
    TAG_SET: (AboutVersion, TagSet),
    TAG_DELETED: (AboutVersion, Tag),
    COMMENTED: (AboutVersion, CommentText),
    COMMENT_UPDATED: (AboutVersion, CommentText),
    COMMENT_DELETED: (AboutVersion, Comment),
}


def _of_prompts(events: Mapping[str, Parts]) -> dict[str, Parts]:
    return {
        prompts.event_type(name): tuple(
            PromptVersion if part is Version else part for part in parts
        )
        for name, parts in events.items()
    }


_OPT_IN: Mapping[str, Parts] = {
    **_TO_WHO_NAMES_IT,
    **_of_prompts(_TO_WHO_NAMES_IT),
    PROMPT_TAG_SET: (TagSet,),
    PROMPT_TAG_DELETED: (Tag,),
}
#: Announced to those who name the type: neither ``*`` nor a prefix asks for them.
OPT_IN = frozenset(_OPT_IN)
#: What each event says besides ``About``.
EVENTS: Mapping[str, Parts] = {
    **_TO_ALL,
    STAGE_CHANGED: (Version, StageChange),
    ARTIFACT_CHANGED: (Version, ArtifactChange),
    DEPLOYMENT_UPDATED: (Version | PromptVersion, Deployment),
    BROKE_GLASS: (Version, BrokenGlass),
    HOLD_SET: (Held,),
    HOLD_LIFTED: (Held,),
    **dict.fromkeys(_OF_REQUESTS, (Version, Request)),
    **_of_prompts(_TO_ALL),
    **_OPT_IN,
}
