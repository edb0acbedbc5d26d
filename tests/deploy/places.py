"""Where the deployment tests find and keep things."""

import os
import tomllib
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def cache_directory() -> Path:
    """What is kept from one run to the next, outside the checkout."""
    own = os.environ.get("STAGEGATE_TEST_CACHE")
    if own:
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "stagegate"


def project_version() -> str:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))
    version: str = project["project"]["version"]
    return version
