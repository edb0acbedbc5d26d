"""When a credential was last used: noted after the answer, where nothing waits.

To read must not need the write lock: while a long change holds it, readers would wait
for the sake of a date.
"""

import logging
import time
from collections.abc import Callable

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from registry.persistence.database import change

logger = logging.getLogger(__name__)

#: Where noting has failed, others do not try at once.
REST_SECONDS = 5.0


class TokenUse:
    """Notes uses, one at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._rests_until = 0.0

    def note(self, write: Callable[[Connection], None]) -> None:
        """Note a use, or leave it to the next one; takes no time to speak of."""
        if time.monotonic() < self._rests_until:
            return
        try:
            with change(self._engine, patience_seconds=0.0) as cx:
                write(cx)
        except SQLAlchemyError as error:
            self._rests_until = time.monotonic() + REST_SECONDS
            logger.info("use_not_noted error=%s", type(error).__name__)
