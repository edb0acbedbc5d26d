"""To come."""

from flask import Blueprint, Response

from registry.auth.permissions import Permission, requires
from registry.ui.pages import page

blueprint = Blueprint("audit", __name__)


@blueprint.get("/audit")
@requires(Permission.AUDIT)
def index() -> Response:
    """To come."""
    return page("soon.html")
