"""To come."""

from flask import Blueprint, Response

from registry.auth.permissions import Permission, requires
from registry.ui.pages import page

blueprint = Blueprint("access", __name__)


@blueprint.get("/admin/tokens")
@requires(Permission.ADMIN)
def tokens() -> Response:
    """To come."""
    return page("soon.html")
