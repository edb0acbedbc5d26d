"""Where our own API is: one table of modules, which is served and described.

Its description is made when somebody first asks for it, since a start has no need of
it, by an application of its own: what it is made with, half a megabyte, goes again.
"""

from functools import cache, partial

from flask import Flask, Response

from registry import __version__
from registry.api import (
    artifacts,
    audit,
    checks,
    deployments,
    docs,
    event_types,
    events,
    models,
    openapi,
    policy,
    publishers,
    rehearsals,
    requests,
    roles,
    tokens,
    transitions,
    versions,
    webhooks,
)
from registry.api.converters import CONVERTERS, describe_converters
from registry.api.problems import ProblemApi
from registry.auth.permissions import Permission, requires
from registry.web.parts import Parts

_ROOT = "/api/v1"
_MODULES = (
    *(models, versions, transitions, requests, checks, policy, rehearsals),
    *(deployments, artifacts),
    *(webhooks, events, event_types, audit, tokens, roles, publishers),
)


def mount(app: Flask) -> None:
    """Serve the API, its description, and the page that shows that."""
    app.url_map.converters.update(CONVERTERS)
    for module in _MODULES:
        app.register_blueprint(module.blueprint, url_prefix=_ROOT)
    app.register_blueprint(docs.blueprint)
    description = cache(partial(_description, app))

    @app.get(f"{_ROOT}/openapi.json")
    @requires(Permission.PUBLIC)
    def openapi_json() -> Response:
        return Response(description(), mimetype="application/json")


def _description(app: Flask) -> bytes:
    """flask-smorest's document, completed."""
    parts: Parts = app.extensions["stagegate"]
    described = Flask("described")
    described.url_map.converters.update(CONVERTERS)
    api = ProblemApi(
        described,
        spec_kwargs={
            "title": "Stagegate",
            "version": __version__,
            "openapi_version": "3.1.0",
            "components": {
                "securitySchemes": {
                    "bearer": {"type": "http", "scheme": "bearer"},
                    "basic": {"type": "http", "scheme": "basic"},
                },
                "parameters": openapi.header_parameters(),
            },
            "security": [{"bearer": []}, {"basic": []}],
            # Else as seen from the document: a proxy may serve us below a path.
            "servers": [{"url": parts.settings.public_url or "../.."}],
        },
    )
    describe_converters(api)
    for module in _MODULES:
        api.register_blueprint(module.blueprint, url_prefix=_ROOT)
    stages = parts.policy.stages
    document = openapi.completed(api.spec.to_dict(), described, stages=stages)
    return app.json.dumps(document).encode()
