"""``/api/v1/docs``: a page to try the API at, served from here alone.

The page's scripts come with the package ``flask-swagger-ui``; nothing is loaded
from elsewhere, and the Content-Security-Policy holds it to that.
"""

from pathlib import Path

import flask_swagger_ui
from flask import Blueprint, Response, send_from_directory

from registry.auth.permissions import Permission, requires

blueprint = Blueprint("docs", __name__)

_FILES = Path(flask_swagger_ui.__file__).parent / "dist"
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Stagegate API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null
});
"""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'"
)


@blueprint.get("/api/v1/docs")
@requires(Permission.PUBLIC)
def docs() -> Response:
    """The page."""
    answer = Response(_PAGE, mimetype="text/html")
    answer.headers["Content-Security-Policy"] = _POLICY
    return answer


@blueprint.get("/api/v1/docs/start.js")
@requires(Permission.PUBLIC)
def start() -> Response:
    """The script that points the page at our document."""
    return Response(_START, mimetype="text/javascript")


@blueprint.get("/api/v1/docs/<any('swagger-ui.css','swagger-ui-bundle.js'):asset>")
@requires(Permission.PUBLIC)
def asset(asset: str) -> Response:
    """Swagger UI's own files."""
    return send_from_directory(_FILES, asset)
