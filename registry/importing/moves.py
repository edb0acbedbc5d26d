"""Which stage changes bring the versions here to where they are at the source.

Pure: no I/O. Rules:

- Only what nobody has moved here is moved, and nothing that somebody here has put
  into an exclusive stage is moved aside.
- Each version takes the shortest way that the policy allows; a way through an
  exclusive stage is taken only where there is no other, and while it is empty.
- Of several versions in a stage that is exclusive here the highest number stays.
  The others go in before it, so that a rollback can return to them.
- An exclusive stage is never left empty in between: who held it is superseded by
  who comes, and stays when nobody can come.
"""

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from registry.importing.states import Rules, TargetVersion


@dataclass(frozen=True)
class Route:
    """The stages that a version enters, one after the other."""

    number: int
    stages: tuple[str, ...]


@dataclass(frozen=True)
class Obstacle:
    """Why a version stays where it is; ``is_conflict``: somebody here moved it."""

    number: int
    reason: str
    is_conflict: bool = False


@dataclass(frozen=True)
class MovePlan:
    """Routes in the order to take them; ``ceding`` leave an exclusive stage."""

    routes: tuple[Route, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()
    ceding: Mapping[int, str] = field(default_factory=dict)


def plan_moves(
    wanted: Mapping[int, str], versions: Mapping[int, TargetVersion], rules: Rules
) -> MovePlan:
    """Plan the stage changes of one model.

    Args:
        wanted: the stage at the source of each version that is here too.
        versions: every version here.
        rules: the policy that holds for the model.
    """
    return _Planner(wanted, versions, rules).plan()


class _Planner:
    def __init__(
        self,
        wanted: Mapping[int, str],
        versions: Mapping[int, TargetVersion],
        rules: Rules,
    ) -> None:
        self._rules = rules
        self._versions = versions
        self._at_source = wanted
        self._winners = {
            stage: max(number for number, at in wanted.items() if at == stage)
            for stage in rules.exclusive
            if stage in wanted.values()
        }
        self._wanted = {
            number: stage
            if self._winners.get(stage, number) == number
            else rules.exclusive[stage]
            for number, stage in wanted.items()
        }
        self._stages = {number: one.stage for number, one in versions.items()}
        self._routes: list[Route] = []
        self._obstacles: list[Obstacle] = []

    def plan(self) -> MovePlan:
        # What has moved may have cleared the way of others: once for each, at most.
        for _ in self._versions:
            planned = len(self._routes)
            self._obstacles.clear()
            self._plan_once()
            if len(self._routes) == planned:
                break
        self._report_moved_here()
        return MovePlan(
            tuple(self._routes),
            tuple(self._obstacles),
            {
                number: stage
                for number, stage in self._at_source.items()
                if self._wanted[number] != stage and self._was_moved(number)
            },
        )

    def _plan_once(self) -> None:
        entering = self._entering()
        for number in self._movable():
            if number not in entering and not self._holds_exclusive(number):
                self._bring(number, self._wanted[number])
        for number in entering:
            self._bring(number, self._at_source[number])
        for number in self._movable():
            self._settle(number)

    def _was_moved(self, number: int) -> bool:
        return any(route.number == number for route in self._routes)

    def _movable(self) -> list[int]:
        """What stands elsewhere than at the source and is ours to move."""
        stuck = {one.number for one in self._obstacles}
        return [
            number
            for number in sorted(self._wanted)
            if self._versions[number].is_ours
            and self._stages[number] != self._wanted[number]
            and number not in stuck
        ]

    def _entering(self) -> list[int]:
        """Who goes into exclusive stages, the one that stays last."""
        found: list[int] = []
        for stage, winner in self._winners.items():
            if self._stages[winner] == stage or not self._versions[winner].is_ours:
                continue
            reason, is_conflict = self._closed_to(winner, stage)
            if reason:
                self._obstacles.append(Obstacle(winner, reason, is_conflict))
                continue
            found += [*self._predecessors(stage, winner), winner]
        return found

    def _closed_to(self, winner: int, stage: str) -> tuple[str, bool]:
        """Why the version cannot enter the stage, and whether people are."""
        for number in self._holders(stage):
            if not self._versions[number].is_ours:
                return f"version {number} was put into {stage} here", True
        if self._way(self._stages[winner], stage) is None:
            return self._no_way(winner, stage), False
        return "", False

    def _predecessors(self, stage: str, winner: int) -> list[int]:
        """Who is in the stage at the source too, and has not been anywhere yet."""
        return [
            number
            for number in self._movable()
            if self._at_source[number] == stage
            and number != winner
            and self._stages[number] != stage
            and self._way(self._stages[number], stage) is not None
        ]

    def _settle(self, number: int) -> None:
        """Bring who is left; a holder of an exclusive stage only if nobody comes."""
        stage = self._stages[number]
        awaited = self._winners.get(stage)
        if awaited is not None and self._stages[awaited] != stage:
            self._obstacles.append(
                Obstacle(number, f"stays in {stage}, as version {awaited} cannot enter")
            )
            return
        self._bring(number, self._wanted[number])

    def _bring(self, number: int, stage: str) -> None:
        way = self._way(self._stages[number], stage)
        if way is None:
            self._obstacles.append(Obstacle(number, self._no_way(number, stage)))
            return
        self._routes.append(Route(number, way))
        for step in way:
            if step in self._rules.exclusive:
                for holder in self._holders(step):
                    self._stages[holder] = self._rules.exclusive[step]
            self._stages[number] = step

    def _no_way(self, number: int, stage: str) -> str:
        return f"the policy has no way from {self._stages[number]} to {stage}"

    def _way(self, start: str, end: str) -> tuple[str, ...] | None:
        exclusive = set(self._rules.exclusive)
        held = {stage for stage in exclusive if self._holders(stage)}
        return shortest_way(self._rules, start, end, avoid=exclusive) or shortest_way(
            self._rules, start, end, avoid=held
        )

    def _holders(self, stage: str) -> list[int]:
        return [number for number, at in self._stages.items() if at == stage]

    def _holds_exclusive(self, number: int) -> bool:
        return self._stages[number] in self._rules.exclusive

    def _report_moved_here(self) -> None:
        for number, stage in sorted(self._wanted.items()):
            here = self._versions[number]
            if not here.is_ours and here.stage != stage:
                reason = f"was moved to {here.stage} here, and is in {stage} there"
                self._obstacles.append(Obstacle(number, reason, is_conflict=True))


def shortest_way(
    rules: Rules, start: str, end: str, *, avoid: Collection[str] = ()
) -> tuple[str, ...] | None:
    """The stages to enter, ``end`` last, passing through none of ``avoid``.

    None when there is no way. Of ways of one length, the one over earlier stages.
    """
    came_from: dict[str, str] = {start: ""}
    waiting = deque([start])
    while waiting:
        stage = waiting.popleft()
        if stage == end:
            return tuple(reversed(list(_back(came_from, end, start))))
        if stage != start and stage in avoid:
            continue
        for following in rules.transitions.get(stage, ()):
            if following not in came_from:
                came_from[following] = stage
                waiting.append(following)
    return None


def _back(came_from: Mapping[str, str], end: str, start: str) -> Iterator[str]:
    stage = end
    while stage != start:
        yield stage
        stage = came_from[stage]
