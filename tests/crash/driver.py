"""One seeded run: changes until the kill, a restart, the retry, the comparison.

- One request is under way at a time, so at most one is unanswered at the kill; it
  is sent again with its idempotency key until it is answered.
- A crash in the sweep needs one before it that leaves a lease behind. A run may have
  more crashes, one after another, before the comparison.
- A point that is not reached before all is delivered and the target has looked round
  is no failure of the run: the driver kills it then. The runs together must reach all
  of them.
"""

import contextlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine

from tests.crash import facts
from tests.crash.databases import Environment, World
from tests.crash.incarnation import Incarnation, living
from tests.crash.ledger import Operation, RequestLedger
from tests.crash.operations import Operations
from tests.crash.points import Plan
from tests.crash.target import TargetOptions
from tests.crash.verdict import Evidence, Verdict, judge
from tests.receiver import ReceivedRequest, Receiver
from tests.waiting import wait_for

MAX_OPERATIONS = 15
OPERATIONS_AFTER = 1
LOOK_ROUND_SECONDS = 1.0
FAILING_SHARE = 0.25
SHORT_LEASE_SECONDS = 0.3
LONG_LEASE_SECONDS = 30.0
QUICK_SWEEP_SECONDS = 0.05
SLOW_SWEEP_SECONDS = 5.0


@dataclass(frozen=True)
class RunPlan:
    """The seed of everything chosen in a run, and where it crashes."""

    seed: int
    crashes: tuple[Plan, ...]


@dataclass
class RunResult:
    """What one run showed."""

    verdict: Verdict
    died_at: list[str | None]
    replayed: int = 0


class Answers:
    """The receiver's script: the moody endpoint refuses a share of the messages."""

    def __init__(self, seed: int) -> None:
        self.statuses: dict[int, int] = {}
        self._rng = random.Random(seed)  # noqa: S311  # It guards nothing.

    def __call__(self, request: ReceivedRequest) -> int:
        is_moody = request.path == "/moody"
        is_refused = is_moody and self._rng.random() < FAILING_SHARE
        self.statuses[request.number] = 500 if is_refused else 200
        return self.statuses[request.number]


@dataclass
class Driver:
    """Runs plan after plan against one world."""

    world: World
    receiver: Receiver
    directory: Path
    unknown_points: set[str] = field(default_factory=set)

    def run(self, plan: RunPlan) -> RunResult:
        """Carry out one plan."""
        answers = Answers(plan.seed)
        self.receiver.clear()
        self.receiver.answers = answers
        with self.world.fresh() as environment:
            run = _Run(self, plan, environment)
            engine = facts.open_engine(dict(environment)["STAGEGATE_DATABASE_URL"])
            before = facts.read_facts(engine)
            died_at = [run.crash(index, engine) for index in range(len(plan.crashes))]
            run.recover(engine)
            evidence = Evidence(
                before=before,
                after=facts.read_facts(engine),
                requests=run.ledger,
                arrivals=self.receiver.requests,
                statuses=answers.statuses,
                secrets=self.world.secrets,
            )
        verdict = judge(evidence)
        verdict.violations += run.violations
        if run.ledger.unanswered:
            verdict.violations.append(f"never answered: {run.ledger.unanswered}")
        return RunResult(verdict, died_at, run.replayed)


class _Run:
    """The part of a run between the fresh database and the comparison."""

    def __init__(self, driver: Driver, plan: RunPlan, environment: Environment) -> None:
        self._driver = driver
        self._plan = plan
        self._environment = environment
        self._operations = Operations(
            random.Random(plan.seed),  # noqa: S311  # It guards nothing.
            driver.world.source,
        )
        ledger_file = driver.directory / "requests.jsonl"
        ledger_file.unlink(missing_ok=True)
        self.ledger = RequestLedger(ledger_file)
        self.violations: list[str] = []
        self.replayed = 0

    def crash(self, index: int, engine: Engine) -> str | None:
        """Work until the planned point kills; answers the point, if reached."""
        options = self._options(
            self._plan.crashes[index],
            lease_seconds=SHORT_LEASE_SECONDS,
            sweep_seconds=QUICK_SWEEP_SECONDS if index else SLOW_SWEEP_SECONDS,
        )
        with self._living(options) as target:
            self._work(target, MAX_OPERATIONS)
            facts.wait_until_delivered(engine, or_until=lambda: target.has_died)
            target.wait_for_death(LOOK_ROUND_SECONDS)
        return target.died_at

    def recover(self, engine: Engine) -> None:
        """Restart, retry what is unanswered, change more, deliver everything."""
        options = self._options(
            None,
            lease_seconds=LONG_LEASE_SECONDS,
            sweep_seconds=QUICK_SWEEP_SECONDS,
        )
        with self._living(options) as target:
            self._check_replay(target)
            self._work(target, OPERATIONS_AFTER)
            facts.wait_until_delivered(engine)

    def _work(self, target: Incarnation, count: int) -> None:
        for operation in self.ledger.unanswered:
            self._ask_until_answered(target, operation)
        for _ in range(count):
            if target.has_died or self.ledger.unanswered:
                return
            self._ask(target, self._operations.next())

    def _ask_until_answered(self, target: Incarnation, operation: Operation) -> None:
        """Ask again; the transaction of the killed process may still be ending."""

        def is_over() -> bool:
            if not target.has_died:
                self._ask(target, operation)
            return target.has_died or operation.key in self.ledger.answers

        with contextlib.suppress(TimeoutError):  # the verdict names it
            wait_for(is_over)

    def _ask(self, target: Incarnation, operation: Operation) -> None:
        self.ledger.about_to_send(operation)
        answer = target.send(operation)
        if answer is None:
            return
        if answer.status >= 500 or "in flight" in answer.text:
            if not target.has_died:
                self.violations.append(f"{answer.status}: {operation}: {answer.text}")
            return
        self.ledger.answered(operation, answer)
        self._operations.learn(operation, answer)
        self.replayed += answer.is_replayed

    def _check_replay(self, target: Incarnation) -> None:
        """What was acknowledged last is answered again, the same."""
        for operation in self.ledger.acknowledged[-1:]:
            again = target.send(operation)
            first = self.ledger.answers[operation.key]
            if again is None or (again.status, again.text) != (
                first.status,
                first.text,
            ):
                self.violations.append(f"acknowledged and lost: {operation}: {again}")

    def _options(
        self, plan: Plan | None, *, lease_seconds: float, sweep_seconds: float
    ) -> TargetOptions:
        return TargetOptions(
            environment=self._environment,
            log_file=self._driver.directory / "target.log",
            plan=plan,
            lease_seconds=lease_seconds,
            sweep_seconds=sweep_seconds,
        )

    @contextmanager
    def _living(self, options: TargetOptions) -> Iterator[Incarnation]:
        with living(options) as target:
            yield target
        self._driver.unknown_points |= target.unknown_points
