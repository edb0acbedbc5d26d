"""Where what takes minutes to build or install is kept from one run to the next."""

import os
from pathlib import Path


def cache_directory() -> Path:
    """``STAGEGATE_TEST_CACHE``, else ``stagegate`` in the user's cache directory."""
    own = os.environ.get("STAGEGATE_TEST_CACHE")
    if own:
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    cache = Path(shared) if shared else Path.home() / ".cache"
    return cache / "stagegate"
