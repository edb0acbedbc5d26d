"""What the fork server does once, so that every target starts warm.

Building one application fills the caches of routing, schemas and regular
expressions. It opens no connection and starts no thread, and it is thrown away.
"""

import tempfile
from pathlib import Path

from registry.app import create_app
from registry.settings import Settings
from tests.crash import target
from tests.server import server_environment

with tempfile.TemporaryDirectory() as _directory:
    create_app(Settings.from_env(server_environment(Path(_directory))))

run = target.run
