"""``/webhooks/new``, ``…/edit``, ``…/rotate-secret``: what shows or takes secrets."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Blueprint, Response, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from registry.auth.permissions import Permission, requires
from registry.domain.documents import Document
from registry.errors import InvalidInputError, RegistryError, StaleExpectationError
from registry.persistence.database import reading, reading_session
from registry.services import subscriptions as service
from registry.services.request_previews import preview_request
from registry.ui import webhook_forms, webhook_previews
from registry.ui.pages import done, page, refused, see
from registry.ui.webhook_previews import PREVIEWED
from registry.ui.webhooks import OVERLAPS, find_webhook
from registry.web.commands import commit, parts

blueprint = Blueprint("webhooks_editing", __name__)


@blueprint.get("/webhooks/new")
@requires(Permission.ADMIN)
def new() -> Response:
    """Show the form of a new receiver."""
    document = {**webhook_forms.defaults()}
    chosen = request.args.get("format", document["format"])
    return page("webhook_form.html", **_form({**document, "format": chosen}))


@blueprint.post("/webhooks/new")
@requires(Permission.ADMIN)
def create() -> BaseResponse:
    """Make a receiver and show its secret, or show what it would be sent."""
    shown = {**webhook_forms.defaults(), "format": request.form.get("format", "")}
    try:
        if not _is_saved():
            return _looked_at(shown, None)
        members = _members(is_new=True)
        created = done(
            commit(
                lambda tx: service.create_subscription(tx, parts().webhooks, members)
            )
        )
    except RegistryError as error:
        return _refused(error, shown)
    return _secret(created, created["secret"], is_new=True)


@blueprint.get("/webhooks/<name:webhook_id>/edit")
@requires(Permission.ADMIN)
def edit(webhook_id: str) -> Response:
    """Show the form of a receiver."""
    return page("webhook_form.html", **_form(find_webhook(webhook_id)))


@blueprint.post("/webhooks/<name:webhook_id>/edit")
@requires(Permission.ADMIN)
def save(webhook_id: str) -> BaseResponse:
    """Change a receiver, or show what it would be sent."""
    before = find_webhook(webhook_id)
    shown = {**before, "format": request.form.get("format", "")}
    try:
        if not _is_saved():
            return _looked_at(shown, webhook_id)
        members = _members(is_new=False)
        changes = {n: v for n, v in members.items() if v != before.get(n, {})}
        if changes and request.form.get("seen") != before["updated_at"]:
            raise StaleExpectationError(
                "somebody has changed this webhook meanwhile; look at it again"
            )
        if changes:
            commit(
                lambda tx: service.update_subscription(
                    tx, parts().webhooks, webhook_id, changes
                )
            )
    except RegistryError as error:
        return _refused(error, shown)
    said = "saved" if changes else "unchanged"
    return see(url_for("ui.webhooks.show", webhook_id=webhook_id, done=said))


@blueprint.post("/webhooks/<name:webhook_id>/rotate-secret")
@requires(Permission.ADMIN)
def rotate_secret(webhook_id: str) -> Response:
    """Make a new secret and show it, this once."""
    overlap = timedelta(seconds=_overlap())
    rotated = done(
        commit(
            lambda tx: service.rotate_secret(
                tx, parts().webhooks.box, webhook_id, overlap=overlap
            )
        )
    )
    return _secret(find_webhook(webhook_id), rotated["secret"], is_new=False)


def _is_saved() -> bool:
    return request.form.get("do") == "save"


def _overlap() -> int:
    text = request.form.get("overlap_seconds", "")
    if text not in map(str, OVERLAPS):
        raise InvalidInputError("is none of those offered", field="overlap_seconds")
    return int(text)


def _members(*, is_new: bool) -> Document:
    members = webhook_forms.members_of(request.form)
    return webhook_forms.checked(members, is_new=is_new)


def _looked_at(shown: Document, webhook_id: str | None) -> Response:
    """Show the form again, with another format's fields, or with a preview."""
    if request.form.get("do") != "preview":
        return page("webhook_form.html", is_secret=True, **_form(shown, is_typed=True))
    now = datetime.now(UTC)
    chosen = webhook_previews.choose(reading(), request.form.get(PREVIEWED, ""), now)
    preview = preview_request(
        reading_session(),
        parts().webhooks,
        _members(is_new=webhook_id is None),
        chosen.event,
        of=webhook_id,
        now=now,
    )
    return page(
        "webhook_form.html",
        is_secret=True,
        **{**_form(shown, is_typed=True), "preview": preview, "chosen": chosen},
    )


def _refused(error: RegistryError, shown: Document) -> Response:
    field = getattr(error, "field", None) or ""
    errors = dict.fromkeys((field, field.partition(".")[0]), error.message)
    context = _form(shown, is_typed=True, errors=errors)
    return refused("webhook_form.html", error, is_secret=True, **context)


def _form(
    document: Document,
    *,
    is_typed: bool = False,
    errors: webhook_forms.Errors | None = None,
) -> dict[str, Any]:
    typed = request.form if is_typed else None
    return {
        "webhook": document,
        "groups": webhook_forms.groups(
            document, parts().policy.stages, errors or {}, typed
        ),
        "credentials": webhook_forms.credentials_of(document),
        "new_credentials": webhook_forms.new_credentials(request.form),
        "typed": request.form,
        "event_types": webhook_previews.EVENT_TYPES,
        "previewed": request.form.get(PREVIEWED, webhook_previews.DEFAULT),
        "preview": None,
    }


def _secret(webhook: Mapping[str, Any], secret: str, *, is_new: bool) -> Response:
    return page(
        "webhook_secret.html",
        is_secret=True,
        webhook=webhook,
        secret=secret,
        is_new=is_new,
    )
