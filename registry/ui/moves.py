"""To come."""

from flask import Blueprint, Response

from registry.auth.permissions import Permission, requires
from registry.ui.pages import page

blueprint = Blueprint("moves", __name__)


@blueprint.get("/models/<name:name>/versions/<number:number>/move")
@requires(Permission.READ)
def show(name: str, number: int) -> Response:
    """To come."""
    del name, number
    return page("soon.html")


@blueprint.get("/models/<name:name>/rollback")
@requires(Permission.READ)
def rollback(name: str) -> Response:
    """To come."""
    del name
    return page("soon.html")
