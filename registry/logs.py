"""Logging: one line of JSON an event, to standard error.

Modules log with the standard library. Secrets never reach a log call: ids and
facts do. What a library writes into an exception is masked.
"""

import json
import logging
import sys
from datetime import UTC, datetime

from registry.addresses import masked


class JSONFormatter(logging.Formatter):
    """Writes a record as one JSON object in one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with no credential of an address in it."""
        instant = datetime.fromtimestamp(record.created, UTC)
        event = {
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "timestamp": instant.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return json.dumps({name: masked(text) for name, text in event.items()})


def configure_logging(level: str) -> None:
    """Send every logger's lines through the JSON formatter."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JSONFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for chatty in ("alembic", "apscheduler", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
