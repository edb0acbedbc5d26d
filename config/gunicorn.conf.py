"""How gunicorn serves Stagegate; `stagegate serve` starts it with this file.

- gthread: requests wait for the database and the store, not for the processor.
- One process by default, which the embedded database wants; WEB_CONCURRENCY sets
  more with PostgreSQL.
- Headers that could be mistaken for others are dropped (security reference, M10).
- What libraries load only because it is installed, and a server never uses, is
  left out: a name that is None in ``sys.modules`` cannot be imported (Python's
  reference, section 5.3.1), and these libraries do without.
"""

import gc
import os
import sys
import warnings
from pathlib import Path
from typing import Any

_UNUSED = (
    "rich",  # structlog's coloured tracebacks, with pygments and attrs: 4 MB
    "yaml",  # flask-smorest's command that writes the document as YAML: 1.4 MB
    "charset_normalizer",  # requests' guess at the encoding of text: 3 MB
)
for _name in _UNUSED:
    sys.modules.setdefault(_name, None)  # type: ignore[arg-type]  # see above
warnings.filterwarnings("ignore", message="Unable to find acceptable character")

_MEMORY = Path("/dev/shm")  # noqa: S108  # gunicorn makes its files there safely

worker_class = "gthread"
workers = int(os.environ.get("WEB_CONCURRENCY", "1"))
threads = 8
timeout = 60  # without a heartbeat; a request may take longer
graceful_timeout = 25
keepalive = 5
header_map = "drop"
limit_request_line = 8190  # the longest model name and alias, percent-encoded
accesslog = None
errorlog = "-"
loglevel = "warning"
worker_tmp_dir = str(_MEMORY) if _MEMORY.is_dir() else None
control_socket_disable = True  # the root file system may be read-only


def post_worker_init(worker: Any) -> None:
    """Deliver webhooks in this process too, unless the operator says otherwise."""
    # Here, so that only the workers load the registry, not their arbiter.
    from registry.worker import BackgroundWork  # noqa: PLC0415

    _settle()
    app = worker.app.callable
    if app.extensions["stagegate"].settings.deliver:
        worker.stagegate_work = BackgroundWork(app)
        worker.stagegate_work.start()


def _settle() -> None:
    """Keep what was loaded out of garbage collection.

    A full collection waits until a quarter as many objects as there are have been
    added. Not counting the hundred thousand that stay, it comes sooner, is cheap,
    and 2 MB less garbage lies about.
    """
    gc.collect()
    gc.freeze()


def worker_exit(_server: Any, worker: Any) -> None:
    """Drain what is being delivered."""
    work = getattr(worker, "stagegate_work", None)
    if work is not None:
        work.stop()
