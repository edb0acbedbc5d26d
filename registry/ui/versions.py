"""``/models/NAME/versions/NUMBER``: all that is known of a version.

Rules:

- Description and tags are changed as they were shown: a form has the entity tag, and is
  refused once that is another.
- What only the artifact store knows is asked last, with nothing open, and a page is
  shown without it where the store does not answer.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from registry.api.artifacts import verify_now
from registry.api.models import point_alias
from registry.auth.permissions import Permission, requires
from registry.auth.sign_in import current_caller
from registry.domain import prompts
from registry.domain.commands.aliases import DeleteAlias, SetAlias
from registry.domain.commands.moves import MoveVersion
from registry.domain.commands.versions import ChangeVersion, DeleteVersion
from registry.domain.documents import Preview
from registry.domain.manifests import FileEntry
from registry.domain.policy import UNUSED_STAGES
from registry.domain.requests import standing, what_is_there
from registry.domain.roles import Action
from registry.domain.rows import VersionRow
from registry.domain.signatures import FILE_NAME, Column
from registry.errors import InvalidInputError, RegistryError, StaleExpectationError
from registry.persistence import manifests, queries, version_story
from registry.persistence.database import end_reading, reading
from registry.persistence.deployments import list_deployments
from registry.persistence.requests import list_checks
from registry.services import previews
from registry.services.commands import execute
from registry.ui.pages import done, i_may, page, refused, see
from registry.ui.steps import happenings
from registry.web.checked_files import text_of
from registry.web.commands import commit, parts

blueprint = Blueprint("versions", __name__)

_AT = "/models/<name:name>/versions/<number:number>"
_CHANGES = 20
_DEPLOYMENTS = 200
_FILES = 10
_DONE = {
    "moved": "The version has moved. What becomes of that stands in its history below.",
    "description": "The description is saved.",
    "tags": "The tags are changed.",
    "aliases": "The aliases are changed.",
    "verify": "The artifact was hashed: it is what was registered.",
}


@blueprint.get(_AT)
@requires(Permission.READ)
def show(name: str, number: int) -> Response:
    """Show a version."""
    said = _DONE.get(request.args.get("done", ""))
    return page("version.html", done=said, error=None, **_known(name, number))


@blueprint.post(f"{_AT}/description")
@requires(Permission.WRITE)
def describe(name: str, number: int) -> BaseResponse:
    """Describe a version."""
    text = request.form.get("description", "").replace("\r\n", "\n")
    return _changed(name, number, partial(_change, name, number, description=text))


@blueprint.post(f"{_AT}/tags")
@requires(Permission.WRITE)
def tag(name: str, number: int) -> BaseResponse:
    """Set a tag, or remove one."""
    removed = request.form.get("remove")
    tags: dict[str, str | None] = {}
    if removed is not None:
        tags[removed] = None
    else:
        tags[request.form.get("key", "").strip()] = request.form.get("value", "")
    return _changed(name, number, partial(_change, name, number, tags=tags))


@blueprint.post(f"{_AT}/aliases")
@requires(Permission.WRITE)
def alias(name: str, number: int) -> BaseResponse:
    """Point an alias here, or remove one that does."""
    removed = request.form.get("remove")
    if removed is None:
        set_here = SetAlias(
            model=name, alias=request.form.get("alias", "").strip(), number=number
        )
        return _changed(name, number, lambda: point_alias(set_here))
    return _changed(name, number, lambda: _remove_alias(name, number, removed))


@blueprint.post(f"{_AT}/verify")
@requires(Permission.WRITE)
def verify(name: str, number: int) -> BaseResponse:
    """Hash the artifact again."""
    return _changed(name, number, lambda: verify_now(name, number))


@blueprint.post(f"{_AT}/delete")
@requires(Permission.WRITE)
def delete(name: str, number: int) -> BaseResponse:
    """Delete a version, as it was shown."""
    command = DeleteVersion(model=name, number=number, if_match=_etag())

    def work() -> Response:
        if request.form.get("confirm") != "yes":
            raise InvalidInputError("tick the box to delete the version")
        return commit(lambda tx: execute(tx, command))

    to = url_for("ui.models.show", name=name, done="version-deleted")
    return _changed(name, number, work, to=to)


def _changed(
    name: str, number: int, work: Callable[[], Response], *, to: str = ""
) -> BaseResponse:
    """Go on to what was changed, or show the form again that was refused."""
    what = request.path.rpartition("/")[2]
    try:
        answer = work()
    except RegistryError as error:
        known = _known(name, number)
        return refused("version.html", error, refused=what, typed=request.form, **known)
    if answer.status_code == HTTPStatus.ACCEPTED:
        asked = done(answer)["request"]["id"]
        return see(url_for("ui.requests.show", request_id=asked))
    return see(to or url_for(".show", name=name, number=number, done=what))


def _change(name: str, number: int, **changes: Any) -> Response:  # noqa: ANN401  # of ChangeVersion
    command = ChangeVersion(model=name, number=number, if_match=_etag(), **changes)
    return commit(lambda tx: {"version": execute(tx, command).number})


def _etag() -> str:
    """Return what the form was made for; one that does not say is out of date."""
    return request.form.get("etag", "")


def _remove_alias(name: str, number: int, alias: str) -> Response:
    if alias not in queries.get_version(reading(), name, number).aliases:
        raise StaleExpectationError(f"alias {alias!r} does not point here any more")
    end_reading()
    return commit(lambda tx: execute(tx, DeleteAlias(model=name, alias=alias)))


def _known(name: str, number: int) -> dict[str, Any]:
    """Return what the page shows."""
    cx = reading()
    version, mlmodel = manifests.find_file(cx, name, number, FILE_NAME)
    is_prompt = prompts.is_prompt(version.tags)
    files = manifests.files_behind(cx, name, number, after=None, limit=_FILES + 1)
    moves = [] if is_prompt else _moves(version)
    known = {
        "version": version,
        "prompt": prompts.content(version.tags) if is_prompt else None,
        "moves": moves,
        "checks": list_checks(cx, name, number),
        "files": files[:_FILES],
        "has_more_files": len(files) > _FILES,
        "logged_model_url": _logged_model_url(version),
        "bound_aliases": _bound_aliases(version),
        **_deletion(version, is_prompt=is_prompt),
        **_story(version, moves),
    }
    end_reading()
    return {**known, "signature": signature(version, mlmodel)}


def _story(version: VersionRow, moves: Sequence[Preview]) -> Mapping[str, object]:
    cx = reading()
    above_all = version_story.ABOVE_ALL
    below = min(max(request.args.get("below", above_all, type=int), 0), above_all)
    story = version_story.story_of(cx, version, below=below, most=_CHANGES)
    deployments = list_deployments(
        cx,
        version.model_name,
        version.number,
        transition_id=None,
        before=None,
        limit=_DEPLOYMENTS,
    )
    there, now = what_is_there(version), datetime.now(UTC)
    digest = parts().policy.digest
    counted = {
        move["request"]["id"]: move["approvals_given"]
        for move in moves
        if move["request"]
    }
    states = {row.id: standing(row, there, digest, now) for row in story.requests}
    return {
        "happenings": happenings(story, deployments, states, counted),
        "older_than": story.older_than,
        "is_newest": below == above_all,
        "deployments": {row.environment: row for row in reversed(deployments)},
    }


def _bound_aliases(version: VersionRow) -> list[str]:
    """Return the aliases that point here because it alone is in its stage."""
    return [
        rule.pattern
        for rule in parts().policy.for_model(version.model_name).aliases
        if rule.stage and rule.stage == version.exclusive_stage
    ]


def may_remove_alias(name: str, alias: str) -> bool:
    """Whether who looks at the present page may remove an alias."""
    rule = parts().policy.for_model(name).alias_rule(alias)
    return i_may(rule.action if rule else Action.WRITE, name)


def _deletion(version: VersionRow, *, is_prompt: bool) -> Mapping[str, bool]:
    """Return whether the policy protects the version, and whether it is theirs."""
    name, stage = version.model_name, version.stage
    deletable = parts().policy.for_model(name).deletable
    is_protected = not is_prompt and stage not in deletable
    action = Action.WRITE if stage in UNUSED_STAGES else Action.PROMOTE
    may_delete = not is_protected and i_may(action, name)
    return {"is_protected": is_protected, "may_delete": may_delete}


def _logged_model_url(version: VersionRow) -> str | None:
    tracking, experiment = parts().tracking, (version.run or {}).get("experiment_id")
    if tracking is None or not experiment or not version.logged_model_id:
        return None
    return tracking.logged_model_url(experiment, version.logged_model_id)


def _moves(version: VersionRow) -> Sequence[Preview]:
    """Return what would become of a move to each stage that is next."""
    policy, name = parts().policy, version.model_name
    return [
        previews.preview(
            reading(),
            policy,
            current_caller(),
            MoveVersion(model=name, number=version.number, to_stage=stage),
        )
        for stage in policy.for_model(name).allowed_from(version.stage)
    ]


def signature(version: VersionRow, mlmodel: FileEntry | None) -> Sequence[Column]:
    """Return what a version takes and gives, where its ``MLmodel`` says so."""
    if mlmodel is None:
        return ()
    return parts().signatures.of(mlmodel.sha256, partial(text_of, version, mlmodel))
