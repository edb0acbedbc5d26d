"""Freeze windows: times at which nothing is promoted.

A window is between two instants, or comes back each week; then its clock is that of
its time zone, so that "Friday, 16:00" stays that when clocks are put back. Of an hour
that comes twice then, the first is meant.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEKLY = re.compile(
    rf"({'|'.join(DAYS)}) (\d\d:\d\d) - ({'|'.join(DAYS)}) (\d\d:\d\d)", re.IGNORECASE
)
Point = tuple[int, time]  #: a day of the week, Monday being 0, and a time of that day


@dataclass(frozen=True, kw_only=True)
class Freeze:
    """A window in which nothing is promoted into some stages.

    Attributes:
        stages: the stages; empty for all.
        begins: when a window that comes once begins, and ``ends`` ends.
        weekly: from where to where in the week one is that comes back, in ``zone``.
    """

    reason: str
    stages: tuple[str, ...] = ()
    begins: datetime | None = None
    ends: datetime | None = None
    weekly: tuple[Point, Point] | None = None
    zone: tzinfo = UTC

    def is_of(self, stage: str) -> bool:
        """Whether it is about moves into that stage."""
        return not self.stages or stage in self.stages

    def ends_at(self, now: datetime) -> datetime | None:
        """Return when the window ends that ``now`` lies in; None outside of it."""
        if self.weekly is not None:
            return self._week_ends_at(now, *self.weekly)
        if self.begins and self.ends and self.begins <= now < self.ends:
            return self.ends
        return None

    def _week_ends_at(
        self, now: datetime, first: Point, last: Point
    ) -> datetime | None:
        begins = _at_or_before(now.astimezone(self.zone), first)
        ends = _next(begins, last).astimezone(UTC)
        return ends if now < ends else None


def parse_weekly(text: str) -> tuple[Point, Point]:
    """Return from where to where in the week ``Fri 16:00 - Mon 08:00`` is.

    Raises:
        ValueError: for another text.
    """
    match = _WEEKLY.fullmatch(text)
    if match is None:
        raise ValueError(f"expected 'Fri 16:00 - Mon 08:00', got {text!r}")
    day, at, last_day, last_at = match.groups()
    return _point(day, at), _point(last_day, last_at)


def _point(day: str, at: str) -> Point:
    return DAYS.index(day.lower()), time.fromisoformat(at)


def _at_or_before(here: datetime, point: Point) -> datetime:
    day, at = point
    there = datetime.combine(here.date(), at, tzinfo=here.tzinfo)
    there -= timedelta(days=(here.weekday() - day) % 7)
    # Times of one zone are compared by their clocks, which may have been put back.
    is_past = there.timestamp() <= here.timestamp()
    return there if is_past else there - timedelta(days=7)


def _next(after: datetime, point: Point) -> datetime:
    """The first such point of a week behind ``after``."""
    day, at = point
    there = datetime.combine(after.date(), at, tzinfo=after.tzinfo)
    there += timedelta(days=(day - after.weekday()) % 7)
    return there if there > after else there + timedelta(days=7)
