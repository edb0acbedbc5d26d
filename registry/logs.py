"""Logging: one line of JSON an event, to standard error.

Modules log with the standard library; structlog renders. Secrets never reach a
log call: ids and facts do. What a library writes into an exception is masked.
"""

import logging
import sys

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

from registry.addresses import masked


def configure_logging(level: str) -> None:
    """Send every logger's lines through structlog's JSON renderer."""
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        ProcessorFormatter(
            processors=[
                ProcessorFormatter.remove_processors_meta,
                _mask,
                structlog.processors.JSONRenderer(),
            ],
            foreign_pre_chain=shared,
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for chatty in ("alembic", "apscheduler", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _mask(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {
        name: masked(value) if isinstance(value, str) else value
        for name, value in event.items()
    }
