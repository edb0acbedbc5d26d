"""Many runs: which points, in which order, and the sum of what they showed."""

import contextlib
import os
import platform
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.databases import prepare_postgresql, prepare_sqlite
from tests.crash.driver import Driver, RunPlan, RunResult
from tests.crash.incarnation import start_fork_server
from tests.crash.points import RARE_POINTS, Plan, points_of
from tests.receiver import Receiver
from tests.services.postgres import PostgresServer

MAX_OCCURRENCE = 2
MAX_COMMIT_SECONDS = 0.003
# A crash after these leaves a lease behind, which is what a sweep is for.
_LEAVE_A_LEASE = ("send connected", "send body sent", "record begun")
_FIGURES = (
    "committed",
    "events",
    "expected",
    "received",
    "repeats",
    "duplicates",
    "lost",
    "invented",
    "inversions",
)


def plans(
    database: str, seed: int, runs: int, *, crashes: int = 1
) -> Iterator[RunPlan]:
    """Go through all points in a seeded order, ``crashes`` of them in each run."""
    rng = random.Random(seed)  # noqa: S311  # It guards nothing.
    queue: list[str] = []
    for _ in range(runs):
        chosen: list[Plan] = []
        for _ in range(crashes):
            if not queue:
                points = list(points_of(database))
                rng.shuffle(points)
                # What is rarely passed comes last: a short run is to kill.
                queue = sorted(points, key=lambda point: point not in RARE_POINTS)
            chosen += crashes_at(queue.pop(), rng)
        yield RunPlan(rng.getrandbits(32), tuple(chosen))


def crashes_at(point: str, rng: random.Random) -> list[Plan]:
    """Die at ``point``, and before it where something must be left for it."""
    seconds = rng.uniform(0, MAX_COMMIT_SECONDS)
    occurrence = rng.randint(1, MAX_OCCURRENCE)
    if not point.startswith("sweep"):
        return [Plan(point, occurrence, seconds)]
    # The sweep that finds something happens once.
    before = Plan(rng.choice(_LEAVE_A_LEASE), occurrence)
    return [before, Plan(point, 1, seconds)]


@dataclass
class Totals:
    """The sum of the runs so far."""

    database: str
    seed: int
    runs: int = 0
    kills: int = 0
    replayed: int = 0
    hits: Counter[str] = field(default_factory=Counter)
    sums: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def add(self, plan: RunPlan, result: RunResult) -> None:
        """Count one run."""
        self.runs += 1
        died_at = [name for name in result.died_at if name]
        self.kills += len(died_at)
        self.hits.update(died_at)
        self.replayed += result.replayed
        figures = {name: getattr(result.verdict, name) for name in _FIGURES}
        self.sums.update(figures)
        self.violations += [f"{plan}: {text}" for text in result.verdict.violations]

    @property
    def missed(self) -> list[str]:
        """The points that no run reached, although every seed can."""
        return [
            name
            for name in points_of(self.database)
            if not self.hits[name] and name not in RARE_POINTS
        ]

    @property
    def progress(self) -> str:
        """The figures so far, in one line."""
        figures = ", ".join(f"{name} {self.sums[name]}" for name in _FIGURES)
        return (
            f"runs {self.runs}, kills {self.kills}, {figures}, "
            f"violations {len(self.violations)}"
        )

    @property
    def report(self) -> str:
        """Everything there is to say."""
        return "\n".join([*self._table(), *self._lines(), *self.violations])

    def check_points(self, unknown: set[str]) -> None:
        """Hold the list of points against what was passed and reached."""
        self.violations += [f"not in the list: {name}" for name in sorted(unknown)]
        if self.runs >= 3 * len(points_of(self.database)):
            self.violations += [f"never reached: {name}" for name in self.missed]

    def _lines(self) -> Iterator[str]:
        """The figures as they are printed."""
        yield f"database           {self.database}, seed {self.seed}"
        yield f"runs               {self.runs}"
        yield f"kills              {self.kills}"
        points = points_of(self.database)
        reached = sum(bool(self.hits[name]) for name in points)
        yield f"points reached     {reached} of {len(points)}"
        yield f"committed changes  {self.sums['committed']}"
        yield f"replayed answers   {self.replayed}"
        yield f"committed events   {self.sums['events']}"
        for name in _FIGURES[2:]:
            yield f"{name:<18} {self.sums[name]}"
        yield f"violations         {len(self.violations)}"
        yield f"elapsed            {time.monotonic() - self.started:.0f} s"
        yield f"machine            {os.cpu_count()} cores, {platform.platform()}"

    def _table(self) -> Iterator[str]:
        """How often each point was reached."""
        for number, name in enumerate(points_of(self.database), start=1):
            yield f"{number:>4}  {name:<48} {self.hits[name]:>5}"


def run_all(
    driver: Driver,
    seed: int,
    runs: int,
    *,
    crashes: int = 1,
    report: Callable[[Totals], None],
) -> Totals:
    """Run ``runs`` plans and sum them up; ``report`` is told after each."""
    totals = Totals(driver.world.kind, seed)
    for plan in plans(driver.world.kind, seed, runs, crashes=crashes):
        totals.add(plan, driver.run(plan))
        report(totals)
    totals.check_points(driver.unknown_points)
    return totals


@contextlib.contextmanager
def driver_for(server: PostgresServer | None) -> Iterator[Driver]:
    """A driver on SQLite, or on the server given."""
    with (
        tempfile.TemporaryDirectory(prefix="stagegate-crash-") as name,
        Receiver() as receiver,
    ):
        directory = Path(name)
        world = (
            prepare_sqlite(directory, receiver.url)
            if server is None
            else prepare_postgresql(directory, receiver.url, server)
        )
        with world.fresh() as environment:
            start_fork_server(environment)
        yield Driver(world, receiver, directory)
