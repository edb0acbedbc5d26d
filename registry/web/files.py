"""Files of artifacts as they are sent: whole or a range, with their digest.

Rules:

- The entity tag is the file's SHA-256, from the manifest.
- What is downloaded is an attachment, never a page (ASVS 3.5.4).
- A header holds Latin-1 at most: a name in another alphabet is said as RFC 8187 has it.
- The store is asked for the first bytes before the answer begins, so that a file it
  does not have is an error and not an answer that breaks off.
- What is sent is what was registered (``registry.web.checked_files``).
"""

import base64
import mimetypes
import re
from contextlib import ExitStack
from urllib.parse import quote

from flask import Response, request
from werkzeug.datastructures import Range
from werkzeug.exceptions import RequestedRangeNotSatisfiable

from registry.domain.manifests import FileEntry
from registry.domain.rows import VersionRow
from registry.web.checked_files import whole, whole_under
from registry.web.commands import parts

#: What old clients misread in a ``filename`` (RFC 6266, appendix D).
_NOT_PLAIN = re.compile(r"[^ -~]|[\"%\\]")


def send_file(version: VersionRow, entry: FileEntry) -> Response:
    """Return the file, or the range of it that was asked for.

    Raises:
        ArtifactChangedError: It is not what was registered.
        ArtifactNotFoundError: The store does not have it any more.
        ArtifactStoreError: The store does not answer.
    """
    requested, etag = _requested_range(entry), None
    start, stop = _range(requested, entry.size_bytes)
    if stop - start < entry.size_bytes:
        etag = whole_under(version, entry)
        if etag is None:
            requested, start, stop = None, 0, entry.size_bytes
    # Of the name alone: a path that begins with "data:" would be read as an address.
    mimetype, _ = mimetypes.guess_type(filename(entry.path))
    answer = Response(mimetype=mimetype or "application/octet-stream")
    if stop > start:
        stack = ExitStack()
        answer.response = stack.enter_context(
            parts().store.open(
                version.artifact_uri,
                entry.path,
                start=start,
                length=stop - start,
                etag=etag,
            )
            if etag
            else whole(version, entry)
        )
        answer.call_on_close(stack.close)
    answer.content_length = stop - start
    answer.accept_ranges = "bytes"
    if requested is not None:
        answer.status_code = 206
        answer.content_range.set(start, stop, entry.size_bytes)
    return with_file_headers(answer, entry)


def unchanged_file(entry: FileEntry) -> Response | None:
    """Return the answer to a caller that has the file already."""
    if entry.sha256 not in request.if_none_match:
        return None
    return with_file_headers(Response(status=304), entry)


def _requested_range(entry: FileEntry) -> Range | None:
    """Return the range to send; None for the whole file (RFC 9110, 13.1.5, 14.2)."""
    requested = request.range
    if requested is None or requested.units != "bytes" or len(requested.ranges) != 1:
        return None
    is_other_file = "If-Range" in request.headers and (
        request.if_range.etag != entry.sha256
    )
    return None if is_other_file else requested


def _range(requested: Range | None, size_bytes: int) -> tuple[int, int]:
    """Return the first byte and the one behind the last."""
    if requested is None:
        return 0, size_bytes
    first, stop = requested.ranges[0]
    # The last n bytes of a shorter file are all of it (RFC 9110, 14.1.2).
    start = max(first + size_bytes, 0) if first < 0 else first
    stop = size_bytes if stop is None else min(stop, size_bytes)
    if start >= stop:
        raise RequestedRangeNotSatisfiable(size_bytes)
    return start, stop


def with_file_headers(answer: Response, entry: FileEntry) -> Response:
    """Return the answer with what every answer about a file says."""
    digest = base64.b64encode(bytes.fromhex(entry.sha256)).decode()
    answer.set_etag(entry.sha256)
    answer.headers["Repr-Digest"] = f"sha-256=:{digest}:"  # RFC 9530
    answer.headers["X-Content-Type-Options"] = "nosniff"
    named = _naming(filename(entry.path))
    answer.headers.set("Content-Disposition", "attachment", **named)
    return answer


def _naming(name: str) -> dict[str, str]:
    """Return parameters that name a file: for all clients, and where needed exactly."""
    plain = _NOT_PLAIN.sub("_", name)
    exact = {} if plain == name else {"filename*": f"UTF-8''{quote(name, safe='')}"}
    return {"filename": plain, **exact}


def filename(path: str) -> str:
    """Return the name to save a file under."""
    return path.rsplit("/", 1)[-1]
