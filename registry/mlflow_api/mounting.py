"""Where MLflow's clients find what: one table of modules, mounted twice.

Rules:

- MLflow serves its REST API under ``/api/2.0`` and, for pages in a browser, under
  ``/ajax-api/2.0``: the same views here, each written once.
- A view declares its permission as any other does (``registry.auth``); nothing of
  this API stands in our OpenAPI document.
- What is unknown below these roots is answered ``ENDPOINT_NOT_FOUND``, as clients
  expect that try another method then; so is a known path with another method.
"""

from http import HTTPStatus

from flask import Blueprint, Flask, Response, request

from registry.auth.permissions import Permission, requires
from registry.mlflow_api import aliases, models, stages, tags, versions
from registry.mlflow_api.errors import error_answer, register_handlers

_ROOTS = {"mlflow": "/api/2.0", "mlflow_ajax": "/ajax-api/2.0"}
#: Each module has a ``blueprint``, whose prefix is what follows the root.
_MODULES = (models, versions, stages, aliases, tags)
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def mount(app: Flask) -> None:
    """Serve MLflow's REST API beside our own."""
    for name, root in _ROOTS.items():
        both = Blueprint(name, __name__)
        register_handlers(both)
        for module in _MODULES:
            both.register_blueprint(module.blueprint)
        both.add_url_rule(
            "/<path:anything>", view_func=unknown_endpoint, methods=_METHODS
        )
        app.register_blueprint(both, url_prefix=root)


@requires(Permission.PUBLIC)
def unknown_endpoint(anything: str) -> Response:
    """Say that there is no such endpoint."""
    del anything
    return error_answer(
        HTTPStatus.NOT_FOUND,
        "ENDPOINT_NOT_FOUND",
        f"No handler for {request.method} {request.path}",
    )
