"""The numbered points at which the crash test kills, and the trap that does it.

- A point is a place on the way of one change: the request, each statement of its
  transaction, the commit, the wake-up and the answer; the dispatcher's claim; the
  send, byte by byte as far as one can look; the record; and the sweep that finds
  what an earlier crash left.
- ``POINTS`` is complete: a target that passes a place which is not listed says so,
  and that fails the run. Whoever adds a statement to a transaction adds it here.
- ``during commit`` is the lost acknowledgement. On PostgreSQL COMMIT is sent and
  its answer never read; on SQLite the kill falls at a seeded instant inside it.
"""

import contextlib
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_TABLE = re.compile(r"\b(?:FROM|INTO|UPDATE)\s+\"?(\w+)", re.IGNORECASE)
_CLOCK = "select clock"  # PostgreSQL's alone is asked
_SIGN_IN = ("select tokens", "update tokens")
_STATEMENTS = {
    "change": (
        *_SIGN_IN,
        "select registered_models",
        "update registered_models",
        "insert model_versions",
        "update model_versions",
        "select version_tags",
        "insert manifest_files",
        "select stage_changes",
        "insert stage_changes",
        "insert audit_entries",
        "select webhook_roster",
        "select webhook_subscription_secrets",
        "select webhook_subscriptions",
        "insert webhook_events",
        "insert webhook_queues",
        "insert webhook_deliveries",
        "insert idempotency_keys",
    ),
    "claim": (
        _CLOCK,
        "select webhook_queues",
        "select webhook_subscriptions",
        "select webhook_roster",
        "select webhook_subscription_secrets",
        "select webhook_deliveries",
        "update webhook_queues",
        "update webhook_deliveries",
        "insert webhook_attempts",
    ),
    "record": (
        _CLOCK,
        "select webhook_queues",  # and what failed: its queue's state is asked with it
        "select webhook_subscriptions",
        "update webhook_attempts",
        "update webhook_subscriptions",
        "update webhook_deliveries",
        "update webhook_queues",
        "select webhook_roster",
        "insert webhook_events",
        "insert webhook_attempt_days",
    ),
    "sweep": (
        _CLOCK,
        "select webhook_queues",
        "select webhook_subscriptions",
        "update webhook_attempts",
        "update webhook_deliveries",
        "update webhook_queues",
        "insert webhook_attempt_days",
    ),
}
#: Passed only when an endpoint recovers, which the seeds decide, and when a token was
#: last used some minutes ago, which is noted.
RARE_POINTS = frozenset(
    {
        place.format(moment)
        for moment in ("before", "after")
        for place in (
            "record {} select webhook_roster",
            "record {} insert webhook_events",
            # Kept from one change or claim to the next.
            "change {} select webhook_subscription_secrets",
            "change {} select webhook_subscriptions",
            "claim {} select webhook_subscription_secrets",
        )
    }
    | {f"change {moment} {each}" for moment in ("before", "after") for each in _SIGN_IN}
)
_REQUEST = ("change request received",)
_ANSWER = ("change woken", "change answer made", "change answer sent")
_SEND = (
    "send before connect",
    "send connected",
    "send head sent",
    "send body sent",
    "send answer arrived",
    "send answer read",
)
_COMMIT = ("before commit", "during commit", "after commit")


def statement_name(statement: str) -> str:
    """Verb and first table, which is what tells the statements of a phase apart."""
    found = _TABLE.search(statement)
    table = found.group(1) if found else "clock"
    return f"{statement.split(None, 1)[0].lower()} {table}"


def _transaction(phase: str) -> list[str]:
    names = [f"{phase} begun"]
    for statement in _STATEMENTS[phase]:
        names += [f"{phase} before {statement}", f"{phase} after {statement}"]
    return names + [f"{phase} {moment}" for moment in _COMMIT]


def points_of(database: str) -> tuple[str, ...]:
    """The points of ``sqlite`` or ``postgresql``, in the order of the way."""
    names = [
        *_REQUEST,
        *_transaction("change"),
        *_ANSWER,
        *_transaction("claim"),
        *_SEND,
        *_transaction("record"),
        *_transaction("sweep"),
    ]
    return tuple(
        name for name in names if database == "postgresql" or not name.endswith(_CLOCK)
    )


@dataclass(frozen=True)
class Plan:
    """Where to die: at the ``occurrence``-th passing of ``point``.

    ``commit_seconds`` is how far into a commit the kill falls where the commit
    cannot be cut in two.
    """

    point: str
    occurrence: int = 1
    commit_seconds: float = 0.0


class Trap:
    """Counts the passings of the planned point and kills this process at it.

    Args:
        plan: None lets everything pass.
        tell: hands the name of the point to the driver before the kill.
        known: the listed points; another one is told as it is passed.
    """

    def __init__(
        self, plan: Plan | None, tell: Callable[[str], None], known: frozenset[str]
    ) -> None:
        self._plan = plan
        self._tell = tell
        self._known = known
        self._remaining = plan.occurrence if plan else 0
        self._lock = threading.Lock()
        self._thread = threading.local()

    @property
    def phase(self) -> str | None:
        """What this thread is about; None is of no interest."""
        phase: str | None = getattr(self._thread, "phase", None)
        return phase

    @phase.setter
    def phase(self, value: str | None) -> None:
        self._thread.phase = value

    @contextlib.contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """Name the phase of this thread for the time of the block."""
        self.phase = phase
        try:
            yield
        finally:
            self.phase = None

    def reach(self, moment: str) -> None:
        """Pass a point of the present phase, or die there."""
        if self.phase is not None and self._is_due(f"{self.phase} {moment}"):
            self.kill(f"{self.phase} {moment}")

    def is_due(self, moment: str) -> bool:
        """Count the passing of a point at which the caller itself kills."""
        return self.phase is not None and self._is_due(f"{self.phase} {moment}")

    def kill(self, name: str) -> None:
        """Say where, then die as by a power cut."""
        self._tell(name)
        os.kill(os.getpid(), signal.SIGKILL)

    def kill_within_commit(self) -> None:
        """Die after the planned time, while this thread goes on into the commit."""
        assert self._plan is not None
        name, seconds = self._plan.point, self._plan.commit_seconds
        # Told first: the pipe must not cost the instant its precision.
        self._tell(name)

        def kill() -> None:
            time.sleep(seconds)
            os.kill(os.getpid(), signal.SIGKILL)

        threading.Thread(target=kill).start()

    def _is_due(self, name: str) -> bool:
        with self._lock:
            if name not in self._known:
                self._known |= {name}
                self._tell(f"?{name}")
            if self._plan is None or name != self._plan.point:
                return False
            self._remaining -= 1
            return self._remaining == 0
