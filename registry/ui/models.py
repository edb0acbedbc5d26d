"""To come."""

from flask import Blueprint, Response

from registry.auth.permissions import MANY, Permission, requires
from registry.ui.pages import page

blueprint = Blueprint("models", __name__)


@blueprint.get("/models")
@requires(Permission.READ, model=MANY)
def index() -> Response:
    """To come."""
    return page("soon.html")


@blueprint.get("/models/<name:name>")
@requires(Permission.READ)
def show(name: str) -> Response:
    """To come."""
    del name
    return page("soon.html")
