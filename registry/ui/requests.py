"""To come."""

from flask import Blueprint, Response

from registry.auth.permissions import MANY, Permission, requires
from registry.ui.pages import page

blueprint = Blueprint("requests", __name__)


@blueprint.get("/requests")
@requires(Permission.READ, model=MANY)
def index() -> Response:
    """To come."""
    return page("soon.html")
