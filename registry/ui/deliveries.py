"""To come."""

from flask import Blueprint, Response

from registry.auth.permissions import Permission, requires
from registry.ui.pages import page

blueprint = Blueprint("deliveries", __name__)


@blueprint.get("/deliveries")
@requires(Permission.ADMIN)
def index() -> Response:
    """To come."""
    return page("soon.html")
