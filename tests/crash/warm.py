"""What the fork server does once, so that every target starts warm.

Building one application and changing something with it fills the caches of routing,
schemas, mappers and regular expressions. No thread of it is left, and no connection.
"""

import gc
import tempfile
from pathlib import Path

from tests.crash import target
from tests.crash.databases import prepare_sqlite

with tempfile.TemporaryDirectory() as _directory:
    prepare_sqlite(Path(_directory), "http://127.0.0.1:9/hook")
# What is never looked at is never copied.
gc.collect()
gc.freeze()

run = target.run
