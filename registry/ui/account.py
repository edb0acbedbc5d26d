"""To come."""

from flask import Blueprint, Response

from registry.auth.permissions import NONE, Permission, requires
from registry.ui.pages import page

blueprint = Blueprint("account", __name__)


@blueprint.get("/account")
@requires(Permission.READ, model=NONE)
def show() -> Response:
    """To come."""
    return page("soon.html")
