"""To come."""

from flask import Blueprint, Response

from registry.auth.permissions import MANY, Permission, requires
from registry.ui.pages import page

blueprint = Blueprint("audit", __name__)


@blueprint.get("/audit")
@requires(Permission.AUDIT, model=MANY)
def index() -> Response:
    """To come."""
    return page("soon.html")
