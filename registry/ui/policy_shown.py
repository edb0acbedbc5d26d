"""The stage policy as a picture and in words.

Rules:

- Stages stand in a row, in their order. A move to the next one is a line between them;
  one that goes farther is an arc above, one that goes back an arc below.
- The picture says how and on how many conditions; the table beside it says which.

Pure: what it makes are numbers and texts, which the template draws.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

from registry.domain.freezes import DAYS, Freeze, Point
from registry.domain.gates import MetricThreshold, Requirements
from registry.domain.policy import Cause, Move, StagePolicy

_PITCH, _WIDTH, _HEIGHT = 270, 124, 46
_SIDE, _LABEL = 12, 36
_LINE = 13  #: from one line of a label to the next
_SPREAD = 18  #: of where arcs leave a stage and where they enter it
_FIRST_ARC, _NEXT_ARC = 58, 62
_ARROW = 5


class Node(NamedTuple):
    """A stage; ``x`` and ``y`` are its upper left corner."""

    stage: str
    x: int
    y: int
    note: str


class Edge(NamedTuple):
    """A move: its line, the point of its arrow, and what stands beside it."""

    kind: str
    line: str
    arrow: str
    x: int
    y: int
    label: str
    detail: str


class Picture(NamedTuple):
    """What is drawn."""

    width: int
    height: int
    node_width: int
    node_height: int
    nodes: list[Node]
    edges: list[Edge]


def picture(rules: StagePolicy) -> Picture:
    """Lay the stages and moves of a policy out."""
    moves = list(_moves(rules))
    above = max((to - at for at, to, _ in moves if to - at > 1), default=0)
    below = max((at - to for at, to, _ in moves if to < at), default=0)
    top = _rise(above) + _LABEL if above else _LABEL
    foot = _rise(below) + _LABEL if below else _SIDE
    nodes = [
        Node(stage, _SIDE + place * _PITCH, top, _note(rules, stage))
        for place, stage in enumerate(rules.stages)
    ]
    return Picture(
        width=2 * _SIDE + (len(nodes) - 1) * _PITCH + _WIDTH,
        height=top + _HEIGHT + foot,
        node_width=_WIDTH,
        node_height=_HEIGHT,
        nodes=nodes,
        edges=[_edge(nodes[at], nodes[to], to - at, m) for at, to, m in moves],
    )


def _moves(rules: StagePolicy) -> Iterator[tuple[int, int, tuple[Move, ...]]]:
    """Yield from where to where there is a rule, and which, a rollback's last."""
    for at, from_stage in enumerate(rules.stages):
        for to, to_stage in enumerate(rules.stages):
            found = (
                rules.rule_for(from_stage, to_stage, rollback=False),
                rules.rule_for(from_stage, to_stage, rollback=True),
            )
            which = tuple(dict.fromkeys(move for move in found if move))
            if which:
                yield at, to, which


def _rise(distance: int) -> int:
    """How far an arc goes out: three quarters of where its curve aims."""
    return round(0.75 * _aim(distance))


def _aim(distance: int) -> int:
    return _FIRST_ARC + _NEXT_ARC * (distance - 1)


def _edge(at: Node, to: Node, distance: int, moves: tuple[Move, ...]) -> Edge:
    kind, words = moves[0].via.value, _words(moves)
    middle = (at.x + to.x + _WIDTH) // 2
    if distance == 1:
        y, end = at.y + _HEIGHT // 2, to.x - 2
        line = f"M{at.x + _WIDTH} {y}H{end - _ARROW}"
        arrow = f"{end},{y} {end - 9},{y - _ARROW} {end - 9},{y + _ARROW}"
        return Edge(kind, line, arrow, middle, y - _over(words), *words)
    is_back = distance < 0
    out = -1 if is_back else 1  # to the right of the middle, when it goes there
    x, end = (n.x + _WIDTH // 2 + out * s for n, s in ((at, _SPREAD), (to, -_SPREAD)))
    y = at.y + (_HEIGHT if is_back else 0)
    aim = y - out * _aim(abs(distance))
    edge = y - out * 2
    line = f"M{x} {y}C{x} {aim} {end} {aim} {end} {edge - out * _ARROW}"
    tail = edge - out * 9
    arrow = f"{end},{edge} {end - _ARROW},{tail} {end + _ARROW},{tail}"
    apex = y - out * _rise(abs(distance))
    label = apex + 16 if is_back else apex - _over(words)
    return Edge(kind, line, arrow, middle, label, *words)


def _over(words: tuple[str, str]) -> int:
    """How far above a line its label begins."""
    return 7 + (_LINE if words[1] else 0)


def _words(moves: tuple[Move, ...]) -> tuple[str, str]:
    """How a move is made, and on how many conditions."""
    asks = moves[0].asks
    told = (
        _count(len(list(conditions_of(asks))), "gate"),
        _count(moves[0].approvals, "approval"),
    )
    return " or ".join(move.via.value for move in moves), ", ".join(filter(None, told))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}" if number else ""


def _note(rules: StagePolicy, stage: str) -> str:
    return "one version" if stage in rules.exclusive else ""


def conditions_of(asks: Requirements) -> Iterator[str]:
    """Yield what must hold of a version, each in words."""
    if asks.verify_artifact:
        yield "the artifact, hashed again, is unchanged"
    if asks.require_verified:
        yield "the artifact is verified"
    for tag in asks.required_tags:
        yield f"it has the tag {tag}"
    for threshold in asks.metrics:
        yield _bounds(threshold)
    for check in asks.checks:
        yield f"the check {check} has passed"
    if asks.min_time_in_stage:
        yield f"it has been where it is for {_hours(asks.min_time_in_stage)}"


def cause_word(cause: Cause) -> str:
    """Return how a move is made."""
    return "rollback only" if cause is Cause.ROLLBACK else cause.value


def window(freeze: Freeze) -> str:
    """Return when nothing is promoted."""
    if freeze.weekly is not None:
        first, last = (_point(point) for point in freeze.weekly)
        return f"each week, {first} to {last}, {freeze.zone}"
    return f"{freeze.begins:%Y-%m-%d %H:%M} to {freeze.ends:%Y-%m-%d %H:%M} UTC"


def _point(point: Point) -> str:
    day, at = point
    return f"{DAYS[day].capitalize()} {at:%H:%M}"


def _bounds(threshold: MetricThreshold) -> str:
    low, high = threshold.minimum, threshold.maximum
    if low is not None and high is not None:
        return f"{threshold.name} is from {low:g} to {high:g}"
    bound = f"at least {low:g}" if low is not None else f"at most {high:g}"
    return f"{threshold.name} is {bound}"


def _hours(time: timedelta) -> str:
    return f"{time.total_seconds() / 3600:g} hours"
