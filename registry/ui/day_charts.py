"""How a receiver fared on recent days, as a small picture: geometry alone.

A bar is a day: what was acknowledged below, what failed above it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

_GAP = 1


class Day(Protocol):
    """The attempts of one day."""

    @property
    def day(self) -> date:
        """Which one."""

    @property
    def delivered(self) -> int:
        """How many were acknowledged."""

    @property
    def failed(self) -> int:
        """How many were not."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A day: where its two parts begin and how high they are; ``text`` tells them."""

    x: float
    delivered_y: float
    delivered_height: float
    failed_y: float
    failed_height: float
    text: str


@dataclass(frozen=True, kw_only=True)
class DayChart:
    """The picture, and what it says in words."""

    width: int
    height: int
    bar_width: float
    bars: Sequence[Bar]
    delivered: int
    failed: int

    @property
    def text(self) -> str:
        """What it shows, in a sentence."""
        attempts = self.delivered + self.failed
        if not attempts:
            return f"no attempts in {len(self.bars)} days"
        return f"{self.failed} of {attempts} attempts failed in {len(self.bars)} days"

    @property
    def rate(self) -> str:
        """The part that failed, in percent; empty without attempts."""
        attempts = self.delivered + self.failed
        if not attempts:
            return ""
        percent = 100 * self.failed / attempts
        return f"{percent:.1f} %" if 0 < percent < 100 else f"{percent:.0f} %"  # noqa: PLR2004  # all of them


def day_chart(days: Sequence[Day], *, width: int, height: int) -> DayChart:
    """Draw days, one beside the other, the fullest as high as there is room."""
    most = max([day.delivered + day.failed for day in days] + [1])
    step = width / len(days)
    bars = [
        _bar(day, round(index * step, 2), height / most, height)
        for index, day in enumerate(days)
    ]
    return DayChart(
        width=width,
        height=height,
        bar_width=round(step - _GAP, 2),
        bars=bars,
        delivered=sum(day.delivered for day in days),
        failed=sum(day.failed for day in days),
    )


def _bar(day: Day, x: float, scale: float, height: int) -> Bar:
    delivered, failed = (_length(n, scale) for n in (day.delivered, day.failed))
    # One failure among very many is seen all the same.
    delivered = min(delivered, height - failed)
    return Bar(
        x=x,
        delivered_y=round(height - delivered, 2),
        delivered_height=delivered,
        failed_y=round(height - delivered - failed, 2),
        failed_height=failed,
        text=f"{day.day:%-d %B}: {day.delivered} delivered, {day.failed} failed",
    )


def _length(count: int, scale: float) -> float:
    return round(max(2.0, count * scale), 2) if count else 0.0
