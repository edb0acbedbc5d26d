"""Where a version's bytes are, and the bytes themselves for those who ask here.

Rules, as MLflow's server and clients have them:

- ``get-download-uri`` answers where the bytes are. With ``STAGEGATE_SERVE_ARTIFACTS``
  and an artifact of ours that is this server, so that a client needs a registry token
  and nothing else; without, it is the address that the version was resolved to.
- Here an artifact is addressed by the version's id, not by model and number: a client
  puts the address into a path and into a query, so no character of it may need
  escaping, and a model may be renamed while it is downloaded.
- What is listed and sent is what the manifest names. Nothing is written here.
- MLflow's client decodes the names that it was listed, and takes what follows a ``?``
  for a query: what it asks for is looked up as it would read the names of files.
"""

from http import HTTPStatus
from urllib.parse import unquote

from flask import Blueprint, Response, jsonify, request

from registry.auth.permissions import NONE, Permission, known_by, requires
from registry.domain.manifests import FileEntry, check_artifact_path
from registry.domain.names import storable_text
from registry.domain.rows import VersionRow
from registry.errors import ArtifactNotFoundError
from registry.mlflow_api.errors import MlflowError
from registry.mlflow_api.reading import fields_of, in_field
from registry.mlflow_api.versions import version_ref
from registry.persistence import manifests, queries
from registry.persistence.database import end_reading, reading
from registry.services.artifacts import is_read_by
from registry.web.checked_files import require_unchanged
from registry.web.commands import parts
from registry.web.files import send_file, unchanged_file
from registry.web.own_address import own_address

_ARTIFACTS = "/mlflow-artifacts/artifacts"
_SERVED_AT = f"/api/2.0{_ARTIFACTS}/"

blueprint = Blueprint("artifacts", __name__)

#: The download of MLflow's own pages, which stands outside of its API.
page_blueprint = Blueprint("artifact_pages", __name__)


@blueprint.get("/mlflow/model-versions/get-download-uri")
@requires(Permission.READ, model=in_field("name"))
def get_download_uri() -> Response:
    """Say where a version's bytes are."""
    ref = version_ref(fields_of(request))
    version = queries.get_version(reading(), ref.model, ref.number)
    require_unchanged(version)
    uri = version.artifact_uri
    if parts().settings.serve_artifacts and _is_ours(version):
        uri = f"{_own_address()}{_SERVED_AT}{version.id}"
    return jsonify({"artifact_uri": uri})


def _own_address() -> str:
    address = own_address(parts().settings)
    if not address:
        raise MlflowError(
            "INVALID_STATE",
            "this registry does not know the address that clients reach it at, to "
            "send them artifacts from: its operator sets STAGEGATE_PUBLIC_URL",
        )
    return address


def _model_listed() -> str | None:
    return _model_at(fields_of(request).address("path"))


def _model_downloaded() -> str | None:
    return _model_at((request.view_args or {})["path"])


def _model_at(path: str) -> str | None:
    """Return the name of the model whose version's id a path begins with."""
    version_id, _, _ = storable_text(path, field="path").strip("/").partition("/")
    return queries.model_of_version(reading(), version_id)


@blueprint.get(_ARTIFACTS)
@requires(Permission.READ, model=known_by(_model_listed))
def list_artifacts() -> Response:
    """List one directory of an artifact, its names relative to it."""
    path = fields_of(request).address("path").strip("/")
    version_id, _, directory = path.partition("/")
    children = _children(version_id, directory)
    if children is None:
        meant = _meant(version_id, directory) or check_artifact_path(directory)
        children = _children(version_id, meant) or []
    files = [
        {"path": name, "is_dir": True}
        if size_bytes is None
        else {"path": name, "is_dir": False, "file_size": size_bytes}
        for name, size_bytes in children
    ]
    return jsonify({"files": files} if files else {})


@blueprint.get(f"{_ARTIFACTS}/<path:path>")
@requires(Permission.READ, model=known_by(_model_downloaded))
def download_artifact(path: str) -> Response:
    """Send a file of an artifact, or a range of it."""
    version_id, _, file = path.partition("/")
    version, entry = manifests.find_file_by_id(reading(), version_id, file)
    if entry is None:
        query = request.query_string.decode(errors="replace")
        meant = _meant(version_id, f"{file}?{query}" if query else file)
        file = meant or check_artifact_path(file)
        version, entry = manifests.find_file_by_id(reading(), version_id, file)
    return _sent(version, entry, file)


@blueprint.route(f"{_ARTIFACTS}/<path:path>", methods=["PUT", "DELETE"])
@requires(Permission.READ, model=NONE)
def refuse_change(path: str) -> Response:
    """Refuse to write: an artifact is settled when its version is registered."""
    del path
    raise MlflowError(
        "PERMISSION_DENIED",
        "artifacts of registered versions are only read here; log models to the "
        "tracking server, or upload them with 'stagegate register'",
        status=HTTPStatus.FORBIDDEN,
    )


@page_blueprint.get("/model-versions/get-artifact")
@requires(Permission.READ, model=in_field("name"))
def get_artifact() -> Response:
    """Send a file of a version's artifact."""
    fields = fields_of(request)
    ref, path = version_ref(fields), fields.required_address("path")
    version, entry = manifests.find_file(
        reading(), ref.model, ref.number, check_artifact_path(path)
    )
    if version.artifact_digest is None:
        raise ArtifactNotFoundError(
            f"the artifact of version {ref.number} is not held here: it is "
            f"{version.status} at {version.artifact_uri}"
        )
    return _sent(version, entry, path)


def _is_ours(version: VersionRow) -> bool:
    """Whether there is a manifest and our store can read what it names."""
    return bool(version.artifact_digest) and is_read_by(
        parts().store, version.artifact_uri
    )


def _children(version_id: str, directory: str) -> list[tuple[str, int | None]] | None:
    return manifests.children(reading(), version_id, directory)


def _meant(version_id: str, wanted: str, directory: str = "") -> str | None:
    """Return the one path that MLflow's client would read as what it asks for."""
    wanted = _as_read(wanted)
    candidates: list[str | None] = []
    for name, size_bytes in _children(version_id, directory) or ():
        path = f"{directory}/{name}" if directory else name
        read = _as_read(name)
        if read == wanted:
            candidates.append(path)
        elif size_bytes is None and wanted.startswith(f"{read}/"):
            candidates.append(_meant(version_id, wanted.removeprefix(f"{read}/"), path))
    meant = [path for path in candidates if path is not None]
    return meant[0] if len(meant) == 1 else None


def _as_read(name: str) -> str:
    """Return the name decoded for as long as that changes it, ten times at most."""
    for _ in range(10):
        before, name = name, unquote(name)
        if name == before:
            break
    return name


def _sent(version: VersionRow, entry: FileEntry | None, path: str) -> Response:
    if entry is None:
        raise ArtifactNotFoundError(f"No such artifact: {path!r}")
    end_reading()  # nothing stays open while the file is sent
    require_unchanged(version)
    return unchanged_file(entry) or send_file(version, entry)
