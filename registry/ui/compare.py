"""``/models/NAME/compare?v=3&v=5``: two to five versions beside each other.

The first one is what the others are held against.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from flask import Blueprint, Response, request, url_for

from registry.api.converters import MAX_NUMBER
from registry.auth.permissions import Permission, requires
from registry.domain.rows import VersionRow
from registry.domain.signatures import FILE_NAME
from registry.errors import InvalidInputError, RegistryError
from registry.persistence import comparing, queries
from registry.persistence.comparing import MAX_COMPARED
from registry.persistence.database import end_reading, reading
from registry.ui import comparison
from registry.ui.comparison import Comparison
from registry.ui.pages import page, refused
from registry.ui.versions import signature
from registry.web.paging import decode_cursor, encode_cursor

blueprint = Blueprint("compare", __name__)

_MOST_FILES = 100
_FEWEST = 2


class _Files(NamedTuple):
    """Files of versions that have a manifest.

    Attributes:
        next: behind which path those that differ go on.
        has_more_equal: whether more are equal than are shown.
    """

    compared: Comparison
    next: str | None = None
    has_more_equal: bool = False


@blueprint.get("/models/<name:name>/compare")
@requires(Permission.READ)
def show(name: str) -> Response:
    """Compare versions; with fewer than two, ask which."""
    asked = [text.strip() for text in request.args.getlist("v") if text.strip()]
    known: dict[str, Any] = {"model": name, "asked": asked, "most": MAX_COMPARED}
    try:
        numbers = _numbers(asked)
        if len(numbers) < _FEWEST:
            newest = queries.list_versions(
                reading(), name, below=None, stage=None, limit=_FEWEST
            )
            known["newest"] = [version.number for version in newest]
            return page("compare.html", versions=[], error=None, **known)
        return page("compare.html", error=None, **known, **_compared(name, numbers))
    except RegistryError as error:
        queries.model_id(reading(), name)
        return refused("compare.html", error, versions=[], newest=[], **known)


def _numbers(asked: Sequence[str]) -> list[int]:
    """Return the numbers of versions that are asked for, each once.

    Raises:
        InvalidInputError: for what is no number, and for too many.
    """
    if not all(text.isascii() and text.isdigit() and len(text) < 11 for text in asked):  # noqa: PLR2004
        raise InvalidInputError("a version is a whole number", field="v")
    numbers = list(dict.fromkeys(min(int(text), MAX_NUMBER) for text in asked))
    if len(numbers) > MAX_COMPARED:
        raise InvalidInputError(
            f"at most {MAX_COMPARED} versions are compared at a time", field="v"
        )
    return numbers


def _compared(name: str, numbers: Sequence[int]) -> Mapping[str, Any]:
    versions = comparing.chosen_versions(reading(), name, numbers)
    files = _files(versions)
    mlmodels = comparing.files_named(reading(), [v.id for v in versions], FILE_NAME)
    end_reading()  # nothing stays open while the store is asked
    schemas = [
        comparison.schema(signature(version, mlmodels.get(version.id)))
        for version in versions
    ]
    sections = {
        "Metrics": comparison.compared_metrics([v.metrics for v in versions]),
        "Params": comparison.compared([v.params for v in versions]),
        "Facts": comparison.compared([*map(comparison.facts, versions)]),
        "Tags": comparison.compared([v.tags for v in versions]),
        "Data sets": comparison.compared([*map(comparison.datasets, versions)]),
        "Schema": comparison.compared(schemas),
        "Files": files.compared,
    }
    return {
        "versions": versions,
        # Those that have differences first.
        "sections": sorted(sections.items(), key=lambda each: not each[1].differing),
        "next_files": files.next
        and url_for(".show", name=name, v=numbers, files=files.next, _anchor="files"),
        "is_first_files": "files" not in request.args,
        "has_more_equal": files.has_more_equal,
    }


def _files(versions: Sequence[VersionRow]) -> _Files:
    """Compare the files of those versions that have a manifest."""
    ids = [version.id for version in versions]
    pinned = [version.id for version in versions if version.artifact_digest]
    if len(pinned) < _FEWEST:
        return _Files(Comparison([], []))
    after = decode_cursor(request.args.get("files"), str, field="files") or ""
    found = {
        differing: comparing.files_of(
            reading(),
            pinned,
            differing=differing,
            after=after if differing else "",
            most=_MOST_FILES + 1,
        )
        for differing in (True, False)
    }
    shown = {
        differing: comparison.files(each, ids) for differing, each in found.items()
    }
    rows = shown[True]
    return _Files(
        Comparison(rows[:_MOST_FILES], shown[False][:_MOST_FILES]),
        encode_cursor(rows[_MOST_FILES - 1].name) if len(rows) > _MOST_FILES else None,
        len(shown[False]) > _MOST_FILES,
    )
