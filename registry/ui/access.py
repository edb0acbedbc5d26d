"""``/admin``: API tokens, trusted publishers, and who has which role.

Rules:

- What is typed is held to the API's own schemas, and changed by the same services.
- A token is shown by the answer that made it, and never again.
- What ends something says so beside its button, which stands behind a summary.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from flask import Blueprint, Response, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from registry.api.schemas.admin import NewToken
from registry.api.schemas.publishers import NewPublisher
from registry.api.schemas.roles import NewRoleBinding
from registry.auth.permissions import Permission, requires
from registry.domain.publishers import ROLES, JobProvider, members_of
from registry.domain.roles import Grant, Role, Scope
from registry.domain.rows import TokenRow
from registry.domain.timestamps import parse_rfc3339, rfc3339
from registry.errors import RegistryError
from registry.persistence.database import reading
from registry.services import publishers as publisher_service
from registry.services import roles as role_service
from registry.services import tokens as token_service
from registry.services.roles import SubjectKind
from registry.services.transaction import Transaction
from registry.ui.forms import typed, whole_number
from registry.ui.pages import done, page, refused, see
from registry.web.commands import commit
from registry.web.paging import decode_cursor, encode_cursor

blueprint = Blueprint("access", __name__, url_prefix="/admin")

_PAGE = 50
#: What was done, by what an address says.
_DONE = {
    "revoked": "The token is revoked, from its next request on.",
    "trusted": "The publisher is trusted: its jobs can get tokens now.",
    "ended": "The publisher is trusted no more, and the tokens of its jobs have ended.",
    "granted": "The role is granted, from the next request on.",
    "taken": "The role is taken away, from the next request on.",
}
_KINDS = {"token": "API tokens", token_service.CI: "Tokens of CI jobs"}


@blueprint.get("/tokens")
@requires(Permission.ADMIN)
def tokens() -> Response:
    """Show the tokens, the newest first."""
    return _tokens(page)


def _tokens(show: Callable[..., Response]) -> Response:
    asked = request.args.get("kind", "token")
    kind = asked if asked in _KINDS else "token"
    behind = decode_cursor(request.args.get("cursor"), str)
    place = None if behind is None else _place(behind)
    found = token_service.list_newest(reading(), kind, behind=place, limit=_PAGE + 1)
    following = None
    if len(found) > _PAGE:
        cursor = encode_cursor(_key(found[_PAGE - 1]))
        following = url_for("ui.access.tokens", kind=kind, cursor=cursor)
    return _show(
        "access_tokens.html", show, items=found[:_PAGE], next=following, kind=kind
    )


@blueprint.post("/tokens")
@requires(Permission.ADMIN)
def create_token() -> Response:
    """Make a token, and show it this once."""
    form = request.form
    scopes = form.get("scopes", "").split()
    try:
        body = typed(
            NewToken(),
            **_said("name", "role", "models"),
            scopes=scopes or None,
            expires_in_days=_number("expires_in_days"),
        )
        granted = Grant.parse(body["role"], body["models"])
        confined = body["scopes"] and list(map(Scope.parse, body["scopes"]))

        def work(tx: Transaction) -> Mapping[str, Any]:
            document, secret = token_service.create_token(
                tx,
                body["name"],
                granted,
                scopes=confined,
                expires_in_days=body["expires_in_days"],
            )
            return {**document, "token": secret}

        made = done(commit(work))
    except RegistryError as error:
        return _tokens(_refusing(error))
    return page("access_token_created.html", status=201, is_secret=True, token=made)


@blueprint.post("/tokens/<name:token_id>/revoke")
@requires(Permission.ADMIN)
def revoke_token(token_id: str) -> BaseResponse:
    """Revoke a token."""
    commit(lambda tx: token_service.revoke_token(tx, token_id))
    return see(url_for("ui.access.tokens", done="revoked"))


@blueprint.get("/publishers")
@requires(Permission.ADMIN)
def publishers() -> Response:
    """Show whose CI jobs are trusted."""
    return _publishers(page)


def _publishers(show: Callable[..., Response]) -> Response:
    after = decode_cursor(request.args.get("cursor"), str)
    found = publisher_service.list_publishers(reading(), after=after, limit=_PAGE + 1)
    return _show(
        "access_publishers.html",
        show,
        **_portion(found, "ui.access.publishers"),
        providers={each.value: members_of(each) for each in JobProvider},
        may_have=ROLES,
    )


@blueprint.post("/publishers")
@requires(Permission.ADMIN)
def create_publisher() -> BaseResponse:
    """Trust the CI jobs of a repository, a project or a service account."""
    try:
        said = _said("provider", "name", "issuer", "role", "models")
        members = members_of(said["provider"]) if said.get("provider") else ()
        claims = _said(*members, before=f"{said.get('provider')}.")
        body = typed(NewPublisher(), **said, claims=claims)
        granted = Grant.parse(body["role"], body["models"])
        commit(
            lambda tx: publisher_service.create(
                tx,
                JobProvider(body["provider"]),
                body["name"],
                granted,
                claims=body["claims"],
                issuer=body["issuer"],
            )
        )
    except RegistryError as error:
        return _publishers(_refusing(error))
    return see(url_for("ui.access.publishers", done="trusted"))


@blueprint.post("/publishers/<name:publisher_id>/delete")
@requires(Permission.ADMIN)
def delete_publisher(publisher_id: str) -> BaseResponse:
    """Trust it no more."""
    commit(lambda tx: publisher_service.delete(tx, publisher_id))
    return see(url_for("ui.access.publishers", done="ended"))


@blueprint.get("/roles")
@requires(Permission.ADMIN)
def roles() -> Response:
    """Show which people and groups have which role."""
    return _roles(page)


def _roles(show: Callable[..., Response]) -> Response:
    after = decode_cursor(request.args.get("cursor"), str)
    found = role_service.list_bindings(reading(), after=after, limit=_PAGE + 1)
    return _show("access_roles.html", show, **_portion(found, "ui.access.roles"))


@blueprint.post("/roles")
@requires(Permission.ADMIN)
def grant_role() -> BaseResponse:
    """Give a person or a group a role."""
    try:
        said = _said("subject_kind", "subject", "role", "models")
        body = typed(NewRoleBinding(), **said)
        kind, subject = SubjectKind(body["subject_kind"]), body["subject"]
        granted = Grant.parse(body["role"], body["models"])
        commit(lambda tx: role_service.grant(tx, kind, subject, granted))
    except RegistryError as error:
        return _roles(_refusing(error))
    return see(url_for("ui.access.roles", done="granted"))


@blueprint.post("/roles/<name:binding_id>/delete")
@requires(Permission.ADMIN)
def revoke_role(binding_id: str) -> BaseResponse:
    """Take a role away."""
    commit(lambda tx: role_service.revoke(tx, binding_id))
    return see(url_for("ui.access.roles", done="taken"))


def _show(template: str, show: Callable[..., Response], **context: Any) -> Response:  # noqa: ANN401  # as templates are
    said = _DONE.get(request.args.get("done", ""))
    known = {"kinds": _KINDS, "roles": list(Role), "typed": request.form}
    return show(template, done=said, **{"error": None, **known, **context})


def _refusing(error: RegistryError) -> Callable[..., Response]:
    """Return how a page is shown again whose form was refused."""

    def show(template: str, **context: Any) -> Response:  # noqa: ANN401  # as templates are
        context["error"] = error
        return refused(template, **context)

    return show


def _portion(found: Sequence[Any], endpoint: str) -> dict[str, Any]:
    """Return what a page of a list by ids shows, and where it goes on."""
    following = None
    if len(found) > _PAGE:
        following = url_for(endpoint, cursor=encode_cursor(found[_PAGE - 1].id))
    return {"items": found[:_PAGE], "next": following}


def _said(*names: str, before: str = "") -> dict[str, str]:
    """Return what was typed in these fields; what was left empty is not said."""
    texts = {name: request.form.get(before + name, "").strip() for name in names}
    return {name: text for name, text in texts.items() if text}


def _number(name: str) -> int:
    return whole_number(request.form.get(name, ""), name)


def _key(token: TokenRow) -> str:
    return f"{rfc3339(token.created_at)} {token.id}"


def _place(key: str) -> tuple[datetime, str]:
    at, _, token_id = key.partition(" ")
    return parse_rfc3339(at, field="cursor"), token_id
