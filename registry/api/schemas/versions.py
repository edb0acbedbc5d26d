"""Model versions, their artifacts and their stage changes on the wire."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypedDict

from marshmallow import fields, validate

from registry.api.schemas.base import (
    MAX_SHORT_TEXT,
    Number,
    NumberedPageQuery,
    Page,
    RequestSchema,
    artifact_path,
    name,
    text,
    whole_number,
)
from registry.api.schemas.models import tag_changes, tag_values
from registry.domain.documents import (
    RequestDocument,
    StageChangeDocument,
    VersionDocument,
)
from registry.domain.manifests import MAX_FILES
from registry.domain.sources import MAX_SOURCE_CHARACTERS
from registry.domain.timestamps import Instant

_SHA256 = r"^[0-9a-f]{64}$"


class Dataset(RequestSchema):
    """A data set that the version was made from."""

    name = text(required=True, minimum=1, maximum=MAX_SHORT_TEXT)
    digest = text(maximum=MAX_SHORT_TEXT)
    source = text(maximum=MAX_SOURCE_CHARACTERS)


class NewVersion(RequestSchema):
    """A version to register; without a source it waits for an upload."""

    source = text(
        minimum=1,
        maximum=MAX_SOURCE_CHARACTERS,
        metadata={
            "description": "where the artifact lies: s3://bucket/prefix, "
            "runs:/RUN_ID/path, models:/NAME/VERSION or models:/m-ID",
            "example": "s3://bucket/prefix",
        },
    )
    run_id = text(maximum=MAX_SHORT_TEXT)
    run_link = text(maximum=MAX_SOURCE_CHARACTERS)
    logged_model_id = text(maximum=MAX_SHORT_TEXT)
    git_commit = text(maximum=MAX_SHORT_TEXT)
    description = text()
    tags = tag_values()
    params = fields.Dict(keys=text(minimum=1, maximum=250), values=text())
    metrics = fields.Dict(keys=text(minimum=1, maximum=250), values=Number())
    datasets = fields.List(fields.Nested(Dataset), validate=validate.Length(max=100))


class VersionPatch(RequestSchema):
    """What to change of a version; a tag of null is removed."""

    description = text()
    tags = tag_changes()


class NewRehearsal(RequestSchema):
    """Changes to a model and one of its versions that are not to be made."""

    name = name(required=True)
    model = fields.Nested(
        VersionPatch,
        load_default=dict,
        metadata={"description": "of the model, which is created when it is missing"},
    )
    version = fields.Nested(
        NewVersion,
        load_default=None,
        metadata={"description": "the version to register"},
    )
    number = whole_number(
        minimum=1,
        load_default=None,
        metadata={"description": "its number; without it, a version that is there"},
    )
    changes = fields.Nested(
        VersionPatch, load_default=None, metadata={"description": "of that version"}
    )
    through = fields.List(
        text(minimum=1, maximum=MAX_SHORT_TEXT),
        load_default=list,
        validate=validate.Length(max=20),
        metadata={"description": "the stages that the version enters, in order"},
    )
    aliases = fields.List(
        text(minimum=1, maximum=MAX_SHORT_TEXT),
        load_default=list,
        validate=validate.Length(max=20),
        metadata={"description": "to point at the version"},
    )


class RehearsalDocument(TypedDict):
    """The version as it would be."""

    version: VersionDocument | None


class VersionPage(Page):
    """Versions, newest first."""

    items: Sequence[VersionDocument]


class VersionQuery(NumberedPageQuery):
    """Which versions to list."""

    stage = text(maximum=MAX_SHORT_TEXT, load_default=None)


class HolderQuery(RequestSchema):
    """Which instant is asked about."""

    at = fields.String(
        load_default=None,
        metadata={
            "format": "date-time",
            "description": "RFC 3339; who held the stage then",
        },
    )


class NewTransition(RequestSchema):
    """A stage change to make."""

    to_stage = text(required=True, minimum=1, maximum=MAX_SHORT_TEXT)
    reason = text(load_default="")
    expected_incumbent = whole_number(
        allow_none=True,
        metadata={"description": "the version expected in the stage; null for none"},
    )
    break_glass = fields.Boolean(
        load_default=False,
        metadata={"description": "go past the gates, by its own permission"},
    )


class PreviewQuery(RequestSchema):
    """The stage change to look at."""

    to_stage = text(required=True, minimum=1, maximum=MAX_SHORT_TEXT)
    rollback = fields.Boolean(load_default=False)


class NewRollback(RequestSchema):
    """A rollback of Production; without to_version to what served before."""

    to_version = whole_number()
    reason = text(load_default="")


class TransitionDocument(TypedDict):
    """A stage change that was made."""

    transition_id: str
    cause: str
    superseded: int | None
    verified: Annotated[bool, "whether its artifact is known to be as registered"]
    version: VersionDocument


class AskedDocument(TypedDict):
    """The request that a stage change became: others are to approve it."""

    request: RequestDocument


class DeliverySummary(TypedDict):
    """How far the webhooks of a stage change have come."""

    requested: int
    delivered: int
    delivered_at: Annotated[Instant | None, "when the last of them was acknowledged"]


class DeploymentSummary(TypedDict):
    """What a consumer reported of a stage change."""

    environment: str
    status: str
    url: str | None
    updated_at: Instant


class HistoryLine(StageChangeDocument):
    """A stage change and what became of it."""

    deliveries: DeliverySummary
    deployments: Sequence[DeploymentSummary]


class HistoryPage(Page):
    """Stage changes, newest first."""

    items: Sequence[HistoryLine]


class UploadNames(RequestSchema):
    """The files of an artifact that is to be uploaded."""

    paths = fields.List(
        fields.String(validate=validate.Length(min=1, max=1024)),
        required=True,
        validate=validate.Length(min=1, max=MAX_FILES),
    )


class NewUpload(RequestSchema):
    """A file to upload."""

    path = artifact_path()
    size_bytes = whole_number(minimum=0, maximum=2**53 - 1, required=True)


class UploadDocument(TypedDict):
    """How to upload the file."""

    method: str
    url: str
    headers: Mapping[str, Any]
    expires_at: Instant


class DeclaredFile(RequestSchema):
    """A file that was uploaded, as the uploader hashed it."""

    path = artifact_path()
    size_bytes = whole_number(minimum=0, maximum=2**53 - 1, required=True)
    sha256 = fields.String(required=True, validate=validate.Regexp(_SHA256))


class DeclaredManifest(RequestSchema):
    """Everything that was uploaded."""

    files = fields.List(
        fields.Nested(DeclaredFile),
        required=True,
        validate=validate.Length(min=1, max=MAX_FILES),
    )


class Abandonment(RequestSchema):
    """Why an upload is given up."""

    reason = text(load_default="given up by the client")


class ArtifactFile(TypedDict):
    """A file of an artifact."""

    path: str
    size_bytes: int
    sha256: str | None


class ArtifactPage(Page):
    """The files of an artifact, by path."""

    items: Sequence[ArtifactFile]
