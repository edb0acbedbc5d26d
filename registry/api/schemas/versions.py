"""Model versions, their artifacts and their stage changes on the wire."""

from marshmallow import fields, validate

from registry.api.schemas.base import (
    MAX_SHORT_TEXT,
    AnswerSchema,
    Number,
    NumberedPageQuery,
    RequestSchema,
    artifact_path,
    name,
    text,
    whole_number,
)
from registry.api.schemas.models import tag_changes, tag_values
from registry.domain.manifests import MAX_FILES
from registry.domain.policy import VersionStatus
from registry.domain.sources import MAX_SOURCE_CHARACTERS

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


class VersionDocument(AnswerSchema):
    """A model version."""

    model = fields.String(required=True)
    version = fields.Integer(required=True)
    stage = fields.String(required=True)
    status = fields.String(required=True, validate=validate.OneOf(list(VersionStatus)))
    status_message = fields.String(required=True)
    source = fields.String(required=True)
    download_uri = fields.String(
        required=True,
        metadata={"description": "where the bytes are; the source where it says so"},
    )
    verified = fields.Boolean(
        required=True,
        metadata={"description": "whether the artifact is what was registered"},
    )
    artifact_digest = fields.String(required=True, allow_none=True)
    artifact_size_bytes = fields.Integer(required=True, allow_none=True)
    run_id = fields.String(required=True, allow_none=True)
    run_link = fields.String(
        required=True, metadata={"description": "where a person sees the run"}
    )
    run = fields.Dict(
        required=True,
        allow_none=True,
        metadata={
            "description": "the run as the tracking server had it when the version "
            "was registered; null where none is set, and `problem` says why when it "
            "did not tell"
        },
    )
    logged_model_id = fields.String(required=True, allow_none=True)
    git_commit = fields.String(required=True, allow_none=True)
    description = fields.String(required=True)
    tags = fields.Dict(keys=fields.String(), values=fields.String(), required=True)
    params = fields.Dict(keys=fields.String(), values=fields.String(), required=True)
    metrics = fields.Dict(keys=fields.String(), values=fields.Float(), required=True)
    datasets = fields.List(fields.Dict(), required=True)
    aliases = fields.List(fields.String(), required=True)
    created_at = fields.DateTime(required=True)
    created_by = fields.String(required=True)
    updated_at = fields.DateTime(required=True)


class RehearsalDocument(AnswerSchema):
    """The version as it would be."""

    version = fields.Nested(VersionDocument, required=True, allow_none=True)


class VersionPage(AnswerSchema):
    """Versions, newest first."""

    items = fields.List(fields.Nested(VersionDocument), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


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


class NewRollback(RequestSchema):
    """A rollback of Production; without to_version to what served before."""

    to_version = whole_number()
    reason = text(load_default="")


class TransitionDocument(AnswerSchema):
    """A stage change that was made."""

    transition_id = fields.String(required=True)
    cause = fields.String(required=True)
    superseded = fields.Integer(required=True, allow_none=True)
    verified = fields.Boolean(
        required=True,
        metadata={"description": "whether its artifact is known to be as registered"},
    )
    version = fields.Nested(VersionDocument, required=True)


class ActorDocument(AnswerSchema):
    """Who did it."""

    kind = fields.String(required=True)
    name = fields.String(required=True)


class StageChangeDocument(AnswerSchema):
    """One version that entered one stage."""

    transition_id = fields.String(required=True)
    sequence = fields.Integer(required=True)
    version = fields.Integer(required=True)
    from_stage = fields.String(required=True)
    to_stage = fields.String(required=True)
    cause = fields.String(required=True)
    reason = fields.String(required=True)
    verified = fields.Boolean(
        required=True,
        allow_none=True,
        metadata={"description": "null for changes of a former release"},
    )
    actor = fields.Nested(ActorDocument, required=True)
    at = fields.DateTime(required=True)


class DeliverySummary(AnswerSchema):
    """How far the webhooks of a stage change have come."""

    requested = fields.Integer(required=True)
    delivered = fields.Integer(required=True)
    delivered_at = fields.DateTime(
        required=True,
        allow_none=True,
        metadata={"description": "when the last of them was acknowledged"},
    )


class DeploymentSummary(AnswerSchema):
    """What a consumer reported of a stage change."""

    environment = fields.String(required=True)
    status = fields.String(required=True)
    url = fields.String(required=True, allow_none=True)
    updated_at = fields.DateTime(required=True)


class HistoryLine(StageChangeDocument):
    """A stage change and what became of it."""

    deliveries = fields.Nested(DeliverySummary, required=True)
    deployments = fields.List(fields.Nested(DeploymentSummary), required=True)


class HistoryPage(AnswerSchema):
    """Stage changes, newest first."""

    items = fields.List(fields.Nested(HistoryLine), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


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


class UploadDocument(AnswerSchema):
    """How to upload the file."""

    method = fields.String(required=True)
    url = fields.String(required=True)
    headers = fields.Dict(required=True)
    expires_at = fields.DateTime(required=True)


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


class ArtifactFile(AnswerSchema):
    """A file of an artifact."""

    path = fields.String(required=True)
    size_bytes = fields.Integer(required=True)
    sha256 = fields.String(required=True, allow_none=True)


class ArtifactPage(AnswerSchema):
    """The files of an artifact, by path."""

    items = fields.List(fields.Nested(ArtifactFile), required=True)
    next_cursor = fields.String(required=True, allow_none=True)
