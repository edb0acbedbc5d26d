"""Artifacts: uploaded while a version is pending, listed and downloaded after.

Rules:

- A path in a URL or body is judged before any store sees it.
- Large files of a store that can sign URLs do not pass through this process.
- What is downloaded is sent by ``registry.web.files``.
"""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO, cast
from urllib.parse import quote

from flask import Response, jsonify, request

from registry.api.blueprints import Blueprint, accepts_body
from registry.api.schemas.base import PageQuery
from registry.api.schemas.versions import (
    Abandonment,
    ArtifactFile,
    ArtifactPage,
    DeclaredManifest,
    NewUpload,
    UploadDocument,
    UploadNames,
)
from registry.artifacts.side_by_side import check_names
from registry.auth.permissions import NONE, Permission, requires
from registry.domain.commands.change import Command, version_path
from registry.domain.commands.registration import upload_source
from registry.domain.commands.versions import (
    FailRegistration,
    MarkArtifactVerified,
    ScheduleSealing,
    SealVersion,
    require_pending,
)
from registry.domain.documents import VersionDocument, version_document
from registry.domain.manifests import (
    MAX_SIZE_BYTES,
    FileEntry,
    Manifest,
    check_artifact_path,
    check_side_by_side,
)
from registry.domain.rows import VersionRow
from registry.domain.timestamps import rfc3339
from registry.errors import (
    ArtifactChangedError,
    ArtifactNotFoundError,
    ConflictError,
    InvalidInputError,
)
from registry.persistence import manifests, queries
from registry.persistence.database import end_reading, reading
from registry.services import uploads
from registry.services.artifacts import is_hashed_inline
from registry.services.commands import execute
from registry.web.checked_files import require_unchanged
from registry.web.commands import answer_once, commit, parts
from registry.web.files import (
    filename,
    send_file,
    unchanged_file,
    with_file_headers,
)
from registry.web.own_address import own_address
from registry.web.paging import decode_cursor, page
from registry.web.verification import verify_artifact

blueprint = Blueprint("artifacts", __name__, description="Artifacts of versions")

UPLOAD_EXPIRES = timedelta(minutes=15)
DOWNLOAD_EXPIRES = timedelta(minutes=15)
#: 100,000 files with short paths, or 12,000 with the longest that are allowed.
MAX_LIST_BYTES = 16 * 1024 * 1024
#: Smaller files are not worth a second request.
REDIRECT_ABOVE_BYTES = 1024 * 1024

_FILE_BODY = {
    "description": "the file",
    "required": True,
    "content": {
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
    },
}

_VERSION = "/models/<name:name>/versions/<number:number>"


@blueprint.route("/uploads/check", methods=["POST"])
@requires(Permission.WRITE, model=NONE)
@accepts_body(MAX_LIST_BYTES)
@blueprint.arguments(UploadNames)
@blueprint.response(204)
@blueprint.alt_response(503, description="The artifact store did not answer")
def check_upload(body: dict[str, Any]) -> Response:
    """Ask whether files of these names can be kept, before any is uploaded."""
    paths = sorted(map(check_artifact_path, body["paths"]))
    check_side_by_side(paths)
    end_reading()  # nothing stays open while the store is tried
    store = parts().store
    trial = uploads.final_source(store.root_uri, uuid.uuid4().hex)
    check_names(store, paths, trial=trial)
    return Response(status=204)


@blueprint.route(f"{_VERSION}/uploads", methods=["POST"])
@requires(Permission.WRITE)
@blueprint.arguments(NewUpload)
@blueprint.response(200, UploadDocument)
@blueprint.alt_response(409, description="The version's artifact is settled")
def create_upload(body: dict[str, Any], name: str, number: int) -> Response:
    """Ask where to upload a file of a pending version."""
    path = check_artifact_path(body["path"])
    version = _pending(name, number)
    expires_at = datetime.now(UTC) + UPLOAD_EXPIRES
    store = parts().store
    url = store.presign_put(_upload_source(version), path, expires=UPLOAD_EXPIRES)
    own = f"{version_path(name, number)}/artifacts/{quote(path, safe='/')}"
    return jsonify(
        {
            "method": "PUT",
            # Without an address it is a path of the server that is asked.
            "url": url or (own_address(parts().settings) or request.script_root) + own,
            "headers": {},
            "expires_at": rfc3339(expires_at),
        }
    )


@blueprint.route(f"{_VERSION}/artifacts/<path:path>", methods=["PUT"])
@requires(Permission.WRITE)
@blueprint.doc(requestBody=_FILE_BODY)
@blueprint.response(201, ArtifactFile)
@blueprint.alt_response(409, description="The version's artifact is settled")
@blueprint.alt_response(503, description="The artifact store did not answer")
def upload_file(name: str, number: int, path: str) -> Response:
    """Upload a file of a pending version; the body is the file."""
    path = check_artifact_path(path)
    version = _pending(name, number)
    end_reading()  # nothing stays open while the file arrives
    # None would be the limit of all other bodies (Flask 3.1).
    request.max_content_length = MAX_SIZE_BYTES
    entry = parts().store.write(
        _upload_source(version),
        path,
        cast("BinaryIO", request.stream),
        request.content_length,
    )
    answer = jsonify(_file_document(entry))
    answer.status_code = 201
    return answer


@blueprint.route(f"{_VERSION}/finalize", methods=["POST"])
@requires(Permission.WRITE)
@accepts_body(MAX_LIST_BYTES)
@blueprint.arguments(DeclaredManifest)
@blueprint.response(200, VersionDocument)
@blueprint.alt_response(409, description="The version's artifact is settled")
@blueprint.alt_response(503, description="The artifact store did not answer")
def finalize(body: dict[str, Any], name: str, number: int) -> Response:
    """Declare an upload complete: it is hashed, and the version READY.

    An artifact that is large or has many files is hashed in the background; the
    version stays PENDING_REGISTRATION meanwhile. The list may name 100,000 files
    and have 16 MiB.
    """
    declared = Manifest(tuple(FileEntry(**file) for file in body["files"]))
    return answer_once(lambda: _finalize(name, number, declared))


def _finalize(name: str, number: int, declared: Manifest) -> Response:
    version = queries.get_version(reading(), name, number)
    if version.artifact_digest == declared.digest:
        return _settle(SealVersion(model=name, number=number, manifest=declared))
    _require_upload(version)
    end_reading()
    if not is_hashed_inline(declared.files):
        return _settle(ScheduleSealing(model=name, number=number, declared=declared))
    store, waiting = parts().store, _upload_source(version)
    try:
        sealed = uploads.seal_upload(store, version.id, declared)
    except (ArtifactNotFoundError, ArtifactChangedError, InvalidInputError) as error:
        return _give_up(version, error.message)
    seal = SealVersion(
        model=name, number=number, manifest=declared, source=sealed.source
    )
    try:
        answer = _settle(seal)
    except ConflictError:  # given up in the meantime: nothing refers to the copy
        uploads.remove(store, sealed.source)
        raise
    uploads.remove(store, waiting)
    return answer


def _settle(command: Command[VersionRow]) -> Response:
    return commit(lambda tx: version_document(execute(tx, command)))


def _give_up(version: VersionRow, reason: str) -> Response:
    answer = _settle(
        FailRegistration(model=version.model_name, number=version.number, reason=reason)
    )
    uploads.remove(parts().store, _upload_source(version))
    return answer


@blueprint.route(f"{_VERSION}/abort", methods=["POST"])
@requires(Permission.WRITE)
@blueprint.arguments(Abandonment)
@blueprint.response(200, VersionDocument)
@blueprint.alt_response(409, description="The version's artifact is settled")
def abort_registration(body: dict[str, Any], name: str, number: int) -> Response:
    """Give a pending version up; what was uploaded for it is removed."""
    reason = body["reason"]
    return answer_once(
        lambda: _give_up(queries.get_version(reading(), name, number), reason)
    )


@blueprint.route(f"{_VERSION}/verify", methods=["POST"])
@requires(Permission.WRITE)
@blueprint.response(200, VersionDocument)
@blueprint.alt_response(409, description="It is not what was registered")
@blueprint.alt_response(503, description="The artifact store did not answer")
def verify(name: str, number: int) -> Response:
    """Hash a version's artifact again.

    One that was found changed is handed out again once it is as it was registered.
    """
    return answer_once(lambda: verify_now(name, number))


def verify_now(name: str, number: int) -> Response:
    """Hash a version's artifact, and answer the version.

    Raises:
        RegistryError: as ``verify_artifact``; ``ConflictError`` without a digest.
    """
    version = queries.get_version(reading(), name, number)
    if version.artifact_digest is None:
        raise ConflictError(
            f"version {number} has no digest to be held to: it is {version.status} "
            f"at {version.source}"
        )
    manifest = manifests.manifest_of(reading(), version)
    end_reading()
    verify_artifact(version, manifest)
    return _settle(
        MarkArtifactVerified(model=name, number=number, digest=manifest.digest)
    )


@blueprint.route(f"{_VERSION}/artifacts", methods=["GET"])
@requires(Permission.READ)
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, ArtifactPage)
def list_artifacts(query: dict[str, Any], name: str, number: int) -> Response:
    """List the files of a version's artifact, as its manifest has them."""
    limit, after = query["limit"], decode_cursor(query["cursor"], str)
    rows = manifests.files_behind(reading(), name, number, after=after, limit=limit + 1)
    return page(rows, limit, document=_file_document, key=lambda file: file.path)


@blueprint.route(f"{_VERSION}/artifacts/<path:path>", methods=["GET"])
@requires(Permission.READ)
@blueprint.response(200, {"type": "string", "format": "binary"}, content_type="*/*")
@blueprint.alt_response(206, description="The range asked for")
@blueprint.alt_response(304, description="Unchanged since the given entity tag")
@blueprint.alt_response(307, description="Where the store serves the file itself")
@blueprint.alt_response(409, description="It is not what was registered")
@blueprint.alt_response(416, description="The range lies beyond the file")
@blueprint.alt_response(503, description="The artifact store did not answer")
def download_file(name: str, number: int, path: str) -> Response:
    """Download a file; its SHA-256 is the entity tag.

    It is hashed while it is sent: a file that is not what was registered breaks off
    before its announced length, and its version is then refused.
    """
    path = check_artifact_path(path)
    version, entry = manifests.find_file(reading(), name, number, path)
    if entry is None:
        raise no_such_file(version, path)
    end_reading()  # nothing stays open while the file is sent
    require_unchanged(version)
    return (
        unchanged_file(entry)
        or _redirect(version.artifact_uri, entry)
        or send_file(version, entry)
    )


def _redirect(source: str, entry: FileEntry) -> Response | None:
    """Send the caller to the store for what is large, where it has URLs."""
    if entry.size_bytes <= REDIRECT_ABOVE_BYTES:
        return None
    url = parts().store.presign_get(
        source, entry.path, expires=DOWNLOAD_EXPIRES, filename=filename(entry.path)
    )
    if url is None:
        return None
    return with_file_headers(Response(status=307, headers={"Location": url}), entry)


def _pending(name: str, number: int) -> VersionRow:
    version = queries.get_version(reading(), name, number)
    _require_upload(version)
    return version


def _require_upload(version: VersionRow) -> None:
    require_pending(version)
    if version.source != _upload_source(version):
        raise InvalidInputError(
            f"version {version.number} is linked to {version.source}; nothing is "
            "uploaded to it"
        )


def _upload_source(version: VersionRow) -> str:
    return upload_source(parts().store.root_uri, version.id)


def no_such_file(version: VersionRow, path: str) -> ArtifactNotFoundError:
    """Return what to raise for a path that no file of a version has."""
    return ArtifactNotFoundError(
        f"version {version.number} has no file {path!r}"
        if version.artifact_digest
        else f"the artifact of version {version.number} is not held here: "
        f"it is {version.status} at {version.source}"
    )


def _file_document(entry: FileEntry) -> dict[str, Any]:
    return {
        "path": entry.path,
        "size_bytes": entry.size_bytes,
        "sha256": entry.sha256,
    }
