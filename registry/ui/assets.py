"""What pages look like and are improved by: style sheets, scripts, the icon.

Rules:

- Bootstrap comes out of the package Bootstrap-Flask, which is never imported: its
  templates are not needed here. No file of it is kept in this repository, nor fetched
  from elsewhere.
- Everything has one version, the digest of all of it, in its address: browsers keep it
  for good, and modules import each other by names beside their own.
- Dark is what the system wishes: Bootstrap's rules for ``data-bs-theme=dark`` are
  served under that media query, so that no script has to set an attribute before the
  first paint, or at all.
"""

import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from flask import Blueprint, Response, request, url_for
from werkzeug.exceptions import NotFound

from registry.auth.permissions import Permission, requires
from registry.errors import ConfigurationError

blueprint = Blueprint("assets", __name__)

_OURS = Path(__file__).parent / "static"
_BOOTSTRAP = "static/bootstrap5/css/bootstrap.min.css"
_DARK_RULE = re.compile(r"[^{}]*\[data-bs-theme=dark\][^{}]*\{[^{}]*\}")
_SOURCE_MAP = re.compile(r"/\*# sourceMappingURL=.*?\*/")
_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_FOR_GOOD = "public, max-age=31536000, immutable"
STYLE = "stagegate.css"


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent."""

    content: bytes
    compressed: bytes
    mimetype: str


class Assets(NamedTuple):
    """All of them, and their version."""

    version: str
    files: dict[str, Asset]


@cache
def assets() -> Assets:
    """Return what is served, made when somebody first asks for it."""
    contents = {
        path.name: path.read_bytes() for path in sorted(_OURS.iterdir()) if path.suffix
    }
    contents[STYLE] = (_bootstrap() + contents[STYLE].decode()).encode()
    digest = hashlib.sha256()
    for name, content in contents.items():
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    files = {
        name: Asset(content, gzip.compress(content, mtime=0), _TYPES[Path(name).suffix])
        for name, content in contents.items()
    }
    return Assets(digest.hexdigest()[:16], files)


def _bootstrap() -> str:
    """Return Bootstrap's style sheet, dark where the system wishes it."""
    package = find_spec("flask_bootstrap")
    if package is None or package.origin is None:
        raise ConfigurationError(["the package bootstrap-flask is not installed"])
    sheet = (Path(package.origin).parent / _BOOTSTRAP).read_text()
    sheet = _SOURCE_MAP.sub("", sheet)
    dark = "".join(_DARK_RULE.findall(sheet)).replace("[data-bs-theme=dark]", ":root")
    return f"{sheet}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n"


def asset_url(name: str) -> str:
    """Return the address of a file."""
    return url_for("ui.assets.asset", version=assets().version, name=name)


def takes_gzip() -> bool:
    """Whether the browser takes what is compressed."""
    return request.accept_encodings.best_match(["gzip"]) is not None


@blueprint.get("/assets/<name:version>/<name:name>")
@requires(Permission.PUBLIC)
def asset(version: str, name: str) -> Response:
    """One file; of another version, by a page of another release, as it is here."""
    file = assets().files.get(name)
    if file is None:
        raise NotFound
    is_small = takes_gzip()
    answer = Response(
        file.compressed if is_small else file.content, mimetype=file.mimetype
    )
    if is_small:
        answer.headers["Content-Encoding"] = "gzip"
    answer.vary.add("Accept-Encoding")
    is_current = version == assets().version
    answer.headers["Cache-Control"] = _FOR_GOOD if is_current else "no-cache"
    return answer
