"""``/models/NAME/versions/NUMBER/files``: what an artifact consists of.

What is in a file is shown as escaped text, inside a page of ours, or not at all; its
bytes are handed out by the API's own route, as an attachment.
"""

from typing import Any

from flask import Blueprint, Response, request, url_for

from registry.api.artifacts import no_such_file
from registry.auth.permissions import Permission, requires
from registry.domain.manifests import check_artifact_path
from registry.errors import RegistryError
from registry.persistence import manifests, queries
from registry.persistence.database import end_reading, reading
from registry.ui.pages import page, refused
from registry.web.checked_files import MAX_TEXT_BYTES, text_of
from registry.web.paging import decode_cursor, encode_cursor

blueprint = Blueprint("files", __name__)

_FILES = "/models/<name:name>/versions/<number:number>/files"
_PAGE = 100


@blueprint.get(_FILES)
@requires(Permission.READ)
def index(name: str, number: int) -> Response:
    """List the files of a version, by path."""
    cursor = request.args.get("cursor")
    after = decode_cursor(cursor, str)
    version = queries.get_version(reading(), name, number)
    files = manifests.files_behind(
        reading(), name, number, after=after, limit=_PAGE + 1
    )
    following = None
    if len(files) > _PAGE:
        behind = encode_cursor(files[_PAGE - 1].path)
        following = url_for(".index", name=name, number=number, cursor=behind)
    return page(
        "version_files.html",
        version=version,
        files=files[:_PAGE],
        next=following,
        is_first=cursor is None,
    )


@blueprint.get(f"{_FILES}/<path:path>")
@requires(Permission.READ)
def show(name: str, number: int, path: str) -> Response:
    """Show a file: its digest, and what is in it where that is a text."""
    path = check_artifact_path(path)
    version, entry = manifests.find_file(reading(), name, number, path)
    if entry is None:
        raise no_such_file(version, path)
    end_reading()  # nothing stays open while the file is read
    known: dict[str, Any] = {"version": version, "file": entry, "most": MAX_TEXT_BYTES}
    try:
        text = text_of(version, entry)
    except RegistryError as error:
        return refused("version_file.html", error, text=None, **known)
    return page("version_file.html", text=text, error=None, **known)
