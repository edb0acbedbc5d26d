"""Which change the driver asks for next: seeded, and always one that is allowed.

The driver keeps its own picture of the stages, from the answers alone.
"""

import random
from dataclasses import dataclass, field
from typing import Any

from tests.crash.databases import MODELS
from tests.crash.ledger import Operation, ReceivedAnswer

# What the template holds: 1 has served, 2 serves, 3 is a candidate.
_AT_FIRST = {1: "Archived", 2: "Production", 3: "Staging"}


@dataclass
class Operations:
    """Makes operations from a seeded generator."""

    rng: random.Random
    source: str
    stages: dict[str, dict[int, str]] = field(
        default_factory=lambda: {model: dict(_AT_FIRST) for model in MODELS}
    )
    made_count: int = 0

    def next(self) -> Operation:
        """The next change of a model."""
        model = self.rng.choice(MODELS)
        path, body = self.rng.choice(self._allowed(model))
        self.made_count += 1
        key = f"op-{self.made_count}-{self.rng.getrandbits(64):016x}"
        return Operation(key, model, f"models/{model}/{path}", body)

    def learn(self, operation: Operation, answer: ReceivedAnswer) -> None:
        """Follow what an acknowledged change did."""
        if answer.status >= 300:
            return
        stages, document = self.stages[operation.model], answer.document
        if "transition_id" not in document:
            stages[document["version"]] = document["stage"]
            return
        moved = document["version"]
        stages[moved["version"]] = moved["stage"]
        if document["superseded"] is not None:
            stages[document["superseded"]] = "Archived"

    def _allowed(self, model: str) -> list[tuple[str, dict[str, Any]]]:
        found: list[tuple[str, dict[str, Any]]] = [
            ("versions", {"source": self.source}),
            ("rollback", {}),
        ]
        following = {"None": "Staging", "Staging": "Production"}
        found += [
            (f"versions/{number}/transitions", {"to_stage": following[stage]})
            for number, stage in self.stages[model].items()
            if stage in following
        ]
        return found
