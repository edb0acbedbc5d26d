"""What the driver sent and what it was answered, on the disk before it goes on.

A request is written before it is sent: one without an answer is the one whose
fate only a retry with the same idempotency key can tell.
"""

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Operation:
    """One change that the driver asks for."""

    key: str
    model: str
    path: str
    body: dict[str, Any]


@dataclass(frozen=True)
class ReceivedAnswer:
    """What came back, in full."""

    status: int
    text: str
    is_replayed: bool

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.text)
        return document


@dataclass
class RequestLedger:
    """Operations in the order asked for, and their answers by key."""

    file: Path
    operations: list[Operation] = field(default_factory=list)
    answers: dict[str, ReceivedAnswer] = field(default_factory=dict)

    @property
    def unanswered(self) -> list[Operation]:
        """What was sent and not answered: one at most, since the driver waits."""
        return [entry for entry in self.operations if entry.key not in self.answers]

    @property
    def acknowledged(self) -> list[Operation]:
        """What was answered as done."""
        return [
            entry
            for entry in self.operations
            if entry.key in self.answers and self.answers[entry.key].status < 300
        ]

    def about_to_send(self, operation: Operation) -> None:
        if operation not in self.operations:
            self.operations.append(operation)
        self._write("sent", dataclasses.asdict(operation))

    def answered(self, operation: Operation, answer: ReceivedAnswer) -> None:
        self.answers[operation.key] = answer
        self._write("answered", {"key": operation.key, **dataclasses.asdict(answer)})

    def _write(self, what: str, members: dict[str, Any]) -> None:
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"what": what, **members}) + "\n")
            file.flush()
            os.fsync(file.fileno())
