"""A metric over a model's versions, as the geometry of a picture.

Rules:

- Versions stand at their numbers, values between the least and the greatest.
- A stage has a shape besides its colour.
- Any finite number can be a value: what is computed of them stays finite, too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from registry.domain.policy import ARCHIVED, NONE, PRODUCTION, STAGING
from registry.persistence.boards import Point
from registry.ui.shown import number, stage_class

WIDTH, HEIGHT = 1180, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 16, 14, 30
_TICKS_UP, _TICKS_ALONG = 6, 12
_SHAPES = {NONE: "ring", STAGING: "half", PRODUCTION: "dot", ARCHIVED: "square"}
_STEPS = (1, 2, 5, 10)


@dataclass(frozen=True, slots=True)
class Mark:
    """A value as it is drawn."""

    x: float
    y: float
    shape: str
    point: Point


@dataclass(frozen=True, slots=True)
class Tick:
    """A number on an axis, and where it stands."""

    place: float
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """The whole picture."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int
    marks: Sequence[Mark]
    along: Sequence[Tick]
    up: Sequence[Tick]

    @property
    def line(self) -> str:
        """Return the points of the line from value to value, as SVG has them."""
        return " ".join(f"{mark.x},{mark.y}" for mark in self.marks)


@dataclass(frozen=True, slots=True)
class _Scale:
    """From numbers to places; halves keep the greatest distance finite."""

    low: float
    high: float
    begin: float
    end: float

    def __call__(self, value: float) -> float:
        whole = self.high / 2 - self.low / 2
        part = (value / 2 - self.low / 2) / whole if whole > 0 else 0.5
        return self.begin + part * (self.end - self.begin)

    def ticks(self, count: int, *, least: float = 0.0) -> list[Tick]:
        """Return round numbers, about so many, with ``least`` between them."""
        step = max(_round_step((self.high / 2 - self.low / 2) / count * 2), least)
        if not step > 0 or not math.isfinite(step):
            values = sorted({self.low, self.high})
        else:
            first = math.ceil(self.low / step)
            last = math.floor(self.high / step)
            values = sorted({index * step for index in range(first, last + 1)})
        return [Tick(self(value), value) for value in values if math.isfinite(value)]


def plot(points: Sequence[Point]) -> Plot | None:
    """Return the picture of points, the lowest version first; None without any."""
    if not points:
        return None
    values = [point.value for point in points]
    along = _Scale(points[0].number, points[-1].number, _LEFT, WIDTH - _RIGHT)
    up = _Scale(min(values), max(values), HEIGHT - _BOTTOM, _TOP)
    return Plot(
        width=WIDTH,
        height=HEIGHT,
        left=_LEFT,
        right=WIDTH - _RIGHT,
        top=_TOP,
        bottom=HEIGHT - _BOTTOM,
        marks=[
            Mark(
                round(along(each.number), 1),
                round(up(each.value), 1),
                shape(each.stage),
                each,
            )
            for each in points
        ],
        along=along.ticks(_TICKS_ALONG, least=1),
        up=up.ticks(_TICKS_UP),
    )


def drawn(picture: Plot, version_at: str) -> Markup:
    """Return the marks as SVG, each a link to its version.

    Five hundred of them through a template take ten milliseconds: it escapes each
    number. Here the stages' names are escaped, once each, and the address.
    """
    address = escape(version_at)
    stages = {mark.point.stage for mark in picture.marks}
    names = {stage: (stage_class(stage), escape(stage)) for stage in stages}
    links = []
    for mark in picture.marks:
        point, (kind, name) = mark.point, names[mark.point.stage]
        links.append(
            f'<a href="{address}{point.number}" tabindex="-1" class="mark {kind}">'
            f"<title>Version {point.number}, {name}: {number(point.value)}</title>"
            f'<use href="#{mark.shape}" x="{mark.x}" y="{mark.y}"/></a>'
        )
    return Markup("\n".join(links))  # noqa: S704  # escaped above


def shape(stage: str) -> str:
    """Return the shape of a stage, as its mark has it."""
    return _SHAPES.get(stage, "diamond")


def _round_step(rough: float) -> float:
    """Return the next 1, 2 or 5 times a power of ten; 0 where there is none."""
    if not rough > 0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(rough))
    return next((s * power for s in _STEPS if s * power >= rough), 0.0)
