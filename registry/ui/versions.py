"""To come."""

from flask import Blueprint, Response

from registry.auth.permissions import Permission, requires
from registry.ui.pages import page

blueprint = Blueprint("versions", __name__)


@blueprint.get("/models/<name:name>/versions/<number:number>")
@requires(Permission.READ)
def show(name: str, number: int) -> Response:
    """To come."""
    del name, number
    return page("soon.html")
