"""A dispatcher in a process of its own, which can be stopped and told to end.

It takes a database URL and the seconds of a lease, and logs to standard error.
"""

import logging
import signal
import sys
import threading
from datetime import timedelta
from pathlib import Path

from sqlalchemy import create_engine, make_url
from sqlalchemy.pool import NullPool

from tests.integration.webhooks.conftest import World, embedded_engine


def main(database_url: str, lease_seconds: str) -> None:
    """Deliver until SIGTERM, then drain."""
    logging.basicConfig(level=logging.INFO)
    url = make_url(database_url)
    engine = (
        embedded_engine(Path(url.database or ""))
        if url.get_backend_name() == "sqlite"
        else create_engine(url, poolclass=NullPool)
    )
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    dispatcher = World(engine).dispatcher(
        lease=timedelta(seconds=float(lease_seconds)), concurrency=1
    )
    dispatcher.start()
    ended.wait()
    sys.exit(0 if dispatcher.stop() else 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
