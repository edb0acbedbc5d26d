"""To come."""

from flask import Blueprint, Response

from registry.auth.permissions import MANY, Permission, requires
from registry.ui.pages import page

blueprint = Blueprint("now", __name__)


@blueprint.get("/")
@requires(Permission.READ, model=MANY)
def show() -> Response:
    """To come."""
    return page("soon.html")
