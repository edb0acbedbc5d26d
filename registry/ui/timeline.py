"""Which version held which stage when, as the geometry of a picture.

Rules:

- Nothing here knows what time it is: what still stands reaches to the right edge, a
  little behind the last change. So a page is the same until something changes.
- Time runs to the right. What lies close together has ``_LEAST_GAP`` between it at
  least, if there is room, so that a busy hour can be told apart beside a quiet month.
- A lane is a stage; versions that share it have rows of their own, as many as
  ``_MOST_ROWS``. What finds no row is counted.
"""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

from registry.domain.rows import StageChangeRow

WIDTH = 1180
_LABELS = 108
_BEFORE, _AFTER = 34, 96
_LEAST_GAP = 20
_ROW, _BAR, _PADDING = 30, 24, 9
_MOST_ROWS = 6
_AXIS = 24
_LEAST_BAR = 3
_CHARACTER = 6.7
_BETWEEN_TICKS = 92
#: How instants are written, by how long all of it lasts.
_FORMS = (
    (timedelta(hours=1), "%H:%M:%S"),
    (timedelta(days=3), "%d %b %H:%M"),
    (timedelta.max, "%d %b %Y"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenure:
    """A version in a stage.

    Attributes:
        entered: the change by which it came.
        is_of_before: whether that lies before what is shown.
        ended_at: None while it stands, as far as is shown.
    """

    number: int
    stage: str
    entered: StageChangeRow
    is_of_before: bool = False
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A tenure as it is drawn; ``text`` is what finds room in it."""

    tenure: Tenure
    x: float
    y: float
    width: float
    height: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A stage, with the middle of its label."""

    stage: str
    y: float
    height: float
    hidden: int


@dataclass(frozen=True, slots=True)
class Tick:
    """An instant at which something changed; most have no room for a text."""

    x: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The whole picture; ``bottom`` is where the lanes end."""

    width: int
    height: float
    bottom: float
    left: int
    lanes: Sequence[Lane]
    bars: Sequence[Bar]
    ticks: Sequence[Tick]


def tenures(
    changes: Iterable[StageChangeRow],
    *,
    standing: Iterable[StageChangeRow],
    deletions: Mapping[int, datetime],
    stages: Iterable[str],
) -> list[Tenure]:
    """Return who was in these stages, in the order in which they came.

    Args:
        changes: the oldest first, none left out between.
        standing: those by which versions stood in a stage before the first of them.
        deletions: when versions were deleted, by their numbers.
        stages: that are looked at.
    """
    shown, found = set(stages), []
    standing_now = {
        change.version_id: Tenure(
            number=change.number,
            stage=change.to_stage,
            entered=change,
            is_of_before=True,
        )
        for change in standing
    }
    for change in changes:
        left = standing_now.pop(change.version_id, None)
        if left is not None:
            found.append(replace(left, ended_at=change.at))
        if change.to_stage in shown:
            standing_now[change.version_id] = Tenure(
                number=change.number, stage=change.to_stage, entered=change
            )
    found += (
        replace(tenure, ended_at=deletions.get(tenure.number))
        for tenure in standing_now.values()
    )
    return sorted(found, key=lambda tenure: tenure.entered.sequence)


def draw(found: Sequence[Tenure], stages: Sequence[str]) -> Timeline | None:
    """Return the picture of what was found, a lane for each stage that had a version.

    None where there is nothing to be drawn.
    """
    instants = sorted(
        {tenure.entered.at for tenure in found if not tenure.is_of_before}
        | {tenure.ended_at for tenure in found if tenure.ended_at}
    )
    if not instants:
        return None
    places = _places(instants, has_before=any(each.is_of_before for each in found))
    lanes: list[Lane] = []
    bars: list[Bar] = []
    y = float(_PADDING)
    for stage in stages:
        its = [_bar(each, places) for each in found if each.stage == stage]
        if not its:
            continue
        rows, hidden = _rows(its)
        height = _ROW * len(rows)
        lanes.append(Lane(stage=stage, y=y, height=height, hidden=hidden))
        bars += (
            replace(bar, y=y + row * _ROW + (_ROW - _BAR) / 2)
            for row, of_row in enumerate(rows)
            for bar in of_row
        )
        y += height + _PADDING
    return Timeline(
        width=WIDTH,
        height=y + _AXIS,
        bottom=y,
        left=_LABELS,
        lanes=lanes,
        bars=bars,
        ticks=_ticks(places),
    )


def _places(instants: Sequence[datetime], *, has_before: bool) -> dict[datetime, float]:
    """Return where each instant lies."""
    left = _LABELS + (_BEFORE if has_before else 6)
    room = WIDTH - _AFTER - left
    gaps = [later - earlier for earlier, later in pairwise(instants)]
    if not gaps:
        return {instants[0]: float(left)}
    least = min(_LEAST_GAP, room / len(gaps))
    whole, to_share = sum(gaps, timedelta()), room - least * len(gaps)
    places, x = {instants[0]: float(left)}, float(left)
    for instant, gap in zip(instants[1:], gaps, strict=True):
        x += least + to_share * (gap / whole)
        places[instant] = x
    return places


def _bar(tenure: Tenure, places: Mapping[datetime, float]) -> Bar:
    begin = _LABELS if tenure.is_of_before else places[tenure.entered.at]
    end = places[tenure.ended_at] if tenure.ended_at else float(WIDTH)
    width = max(end - begin, _LEAST_BAR)
    return Bar(
        tenure=tenure,
        x=begin,
        y=0.0,
        width=width,
        height=_BAR,
        text=_text(tenure, width),
    )


def _text(tenure: Tenure, width: float) -> str:
    number = str(tenure.number)
    for text in (f"{number} · {tenure.entered.actor_name}", number):
        if _length(text) + 12 <= width:
            return text
    return ""


def _length(text: str) -> float:
    """Return about how long a text is; who draws it knows no better."""
    wide = sum(unicodedata.east_asian_width(each) in "WF" for each in text)
    return (len(text) + wide) * _CHARACTER


def _rows(bars: Sequence[Bar]) -> tuple[list[list[Bar]], int]:
    """Return rows in which no bar covers another, and how many found no room."""
    rows: list[list[Bar]] = []
    hidden = 0
    for bar in sorted(bars, key=lambda bar: bar.x):
        for row in rows:
            if row[-1].x + row[-1].width <= bar.x:
                row.append(bar)
                break
        else:
            if len(rows) < _MOST_ROWS:
                rows.append([bar])
            else:
                hidden += 1
    return rows, hidden


def _ticks(places: Mapping[datetime, float]) -> list[Tick]:
    instants = list(places)
    whole = instants[-1] - instants[0]
    form = next(form for most, form in _FORMS if whole < most)
    ticks, free = [], float("-inf")
    for instant, x in places.items():
        has_room = x >= free
        ticks.append(Tick(x, f"{instant:{form}}" if has_room else ""))
        free = x + _BETWEEN_TICKS if has_room else free
    return ticks
