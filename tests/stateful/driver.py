"""Sends one request to the application and asks the rules what it must answer.

- A refused request's idempotency key is used again by the next one with a key: a
  refusal must leave nothing behind.
- After every request the newest audit entry and the model are compared; at the end
  of an example everything is (``checks``).
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from flask.testing import FlaskClient
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from werkzeug.test import TestResponse

from tests.stateful import checks
from tests.stateful.rules import Document, RefusedError, Registry, Version
from tests.stateful.tally import Tally
from tests.stateful.world import World

MAX_PICK = 30

Request = tuple[str, str, Document | None]


@dataclass(frozen=True)
class Keyed:
    """A request with an idempotency key that was carried out, and its answer."""

    method: str
    path: str
    body: Document | None
    key: str
    status: int
    text: str


def step(
    **arguments: st.SearchStrategy[Any],
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A rule that counts, and does nothing once there were enough steps."""

    def decorate(method: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(method)
        def counted(self: "Driver", **given: object) -> None:
            if not self.tally.take(method.__name__):
                return
            try:
                method(self, **given)
            except Exception:
                self.has_failed = self.tally.has_failed = True
                raise

        declared: Callable[..., None] = declare(counted)
        return declared

    # Its overloads do not foresee arguments that are not written out.
    declare = cast("Callable[..., Any]", rule)(**arguments)
    return decorate


class Driver(RuleBasedStateMachine):
    """One example: two models of its own, and what the rules say of them."""

    def __init__(self, world: World, tally: Tally) -> None:
        super().__init__()
        self.world = world
        self.tally = tally
        self.client: FlaskClient = world.client
        self.registry = Registry()
        self.has_failed = False
        self.example = tally.next_example()
        self.keys = 0
        self.unused_keys: list[str] = []
        self.keyed: list[Keyed] = []

    def teardown(self) -> None:
        if not self.has_failed:
            with self.tally.failures_noted():
                checks.check_everything(self.world, self.registry)

    def send(
        self,
        request: Request,
        carry_out: Callable[[], tuple[int, Document]],
        *,
        name: str,
        with_key: bool,
    ) -> None:
        """Send a request and hold its answer against what the rules say."""
        method, path, body = request
        key = self._next_key() if with_key else None
        answer = self.open(method, path, body, key)
        status, expected = outcome(carry_out)
        assert answer.status_code == status, (path, body, answer.text)
        if expected is None:
            self.tally.note_refusal()
            self.unused_keys += [key] if key else []
        else:
            checks.check_contains(answer.get_json(silent=True) or {}, expected)
            if key is not None:
                self.keyed.append(Keyed(method, path, body, key, status, answer.text))
        checks.check_model(self.world, self.registry, name)

    def open(
        self, method: str, path: str, body: Document | None, key: str | None
    ) -> TestResponse:
        headers = {"Idempotency-Key": key} if key else {}
        return self.client.open(
            f"/api/v1{path}", method=method, json=body, headers=headers
        )

    def _next_key(self) -> str:
        if self.unused_keys:
            return self.unused_keys.pop()
        self.keys += 1
        return f"{self.example}-{self.keys}"

    def full(self, name: str) -> str:
        """The name of this example's model."""
        return f"{name}-{self.example}"

    def number(
        self, name: str, pick: int, suits: Callable[[Version], bool] | None = None
    ) -> int:
        """The number of a version that suits; now and then of any, or of none."""
        model = self.registry.models.get(self.full(name))
        versions = list(model.versions.values()) if model else []
        suiting = [
            each for each in versions if not each.is_deleted and suits and suits(each)
        ]
        if pick == MAX_PICK or not versions:
            return len(versions) + 1
        if suiting and pick % 4:
            return suiting[pick % len(suiting)].number
        return versions[pick % len(versions)].number


def outcome(
    carry_out: Callable[[], tuple[int, Document]],
) -> tuple[int, Document | None]:
    """The status of the answer, and what the rules say of it unless they refuse."""
    try:
        return carry_out()
    except RefusedError as refusal:
        return refusal.status, None
