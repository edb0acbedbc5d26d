"""To come."""

from flask import Blueprint, Response

from registry.auth.permissions import Permission, requires
from registry.ui.pages import page

blueprint = Blueprint("compare", __name__)


@blueprint.get("/models/<name:name>/compare")
@requires(Permission.READ)
def show(name: str) -> Response:
    """To come."""
    del name
    return page("soon.html")
