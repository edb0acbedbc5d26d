"""How many steps there are to be, how many there were, and what they met."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Tally:
    """Counts the steps of all examples; their sum is exactly ``wanted``.

    Once a check has failed nothing is counted any more and every step runs:
    Hypothesis then repeats the example to make it shorter.
    """

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.done = 0
        self.refused: Counter[str] = Counter()
        self.examples = 0
        self.by_rule: Counter[str] = Counter()
        self.has_failed = False
        self.rule = ""

    @property
    def is_open(self) -> bool:
        """Whether another step is to be made."""
        return self.has_failed or self.done < self.wanted

    def take(self, rule: str) -> bool:
        """Count one step; False when there were enough."""
        if self.has_failed:
            return True
        if self.done == self.wanted:
            return False
        self.done += 1
        self.by_rule[rule] += 1
        self.rule = rule
        return True

    def note_refusal(self) -> None:
        """Count a request that rules and registry refused alike."""
        if not self.has_failed:
            self.refused[self.rule] += 1

    def next_example(self) -> int:
        """A number that no other example has."""
        self.examples += 1
        return self.examples

    @contextmanager
    def failures_noted(self) -> Iterator[None]:
        """See that a failing check ends the counting."""
        try:
            yield
        except Exception:
            self.has_failed = True
            raise

    def show(self, database: str, seed: int) -> None:
        """Print what there was."""
        rules = ", ".join(
            f"{rule} {n} ({self.refused[rule]} refused)"
            for rule, n in sorted(self.by_rule.items())
        )
        sys.stdout.write(
            f"stateful on {database}, seed {seed}: {self.done} of {self.wanted} steps "
            f"in {self.examples} examples, {self.refused.total()} requests refused as "
            f"the rules say, "
            f"violations: {int(self.has_failed)}\n  {rules}\n"
        )
