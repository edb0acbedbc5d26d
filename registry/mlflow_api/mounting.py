"""Where MLflow's clients find what: one table of modules, mounted twice.

Rules:

- MLflow serves its REST API under ``/api/2.0`` and, for pages in a browser, under
  ``/ajax-api/2.0``: the same views here, each written once. One question of version 3
  and one download of its pages stand elsewhere.
- A view declares its permission as any other does (``registry.auth``); nothing of
  this API stands in our OpenAPI document.
- What is unknown below these roots is answered ``ENDPOINT_NOT_FOUND``, as clients
  expect that try another method then; so is a known path with another method.
"""

from http import HTTPStatus

from flask import Blueprint, Flask, Response, request

from registry.auth.permissions import Permission, requires
from registry.mlflow_api import (
    aliases,
    artifacts,
    models,
    search,
    server_info,
    stages,
    tags,
    versions,
    webhooks,
)
from registry.mlflow_api.databricks import (
    comments,
    permissions,
    registry_webhooks,
    transition_requests,
)
from registry.mlflow_api.databricks import versions as databricks_versions
from registry.mlflow_api.errors import error_answer, register_handlers
from registry.mlflow_api.reading import refuse_repetition

#: Each module has a ``blueprint``, whose prefix is what follows the root.
_MODULES = (
    *(models, search, versions, stages, aliases, tags, artifacts),
    *(webhooks, comments, registry_webhooks, transition_requests),
    *(databricks_versions, permissions),
)
_TREES = (
    ("mlflow", "/api/2.0", _MODULES),
    ("mlflow_ajax", "/ajax-api/2.0", _MODULES),
    ("mlflow_3", "/api/3.0", (server_info,)),
    ("mlflow_3_ajax", "/ajax-api/3.0", (server_info,)),
)
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def mount(app: Flask) -> None:
    """Serve MLflow's REST API beside our own."""
    for name, root, modules in _TREES:
        tree = Blueprint(name, __name__)
        register_handlers(tree)
        tree.before_request(refuse_repetition)
        for module in modules:
            tree.register_blueprint(module.blueprint)
        tree.add_url_rule(
            "/<path:anything>", view_func=unknown_endpoint, methods=_METHODS
        )
        app.register_blueprint(tree, url_prefix=root)
    pages = Blueprint("mlflow_pages", __name__)
    register_handlers(pages)
    pages.before_request(refuse_repetition)
    pages.register_blueprint(artifacts.page_blueprint)
    app.register_blueprint(pages)


@requires(Permission.PUBLIC)
def unknown_endpoint(anything: str) -> Response:
    """Say that there is no such endpoint."""
    del anything
    return error_answer(
        HTTPStatus.NOT_FOUND,
        "ENDPOINT_NOT_FOUND",
        f"No handler for {request.method} {request.path}",
    )
