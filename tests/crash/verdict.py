"""The comparison after a run: what was committed with what arrived.

Three ledgers are held against each other: the driver's (asked, answered), the
database's (audit entries, events, deliveries), and the receiver's (arrivals and
what it answered them).

- lost: a committed event that did not arrive at an endpoint.
- invented: an arrival whose event is not committed.
- inversion: a first arrival with a lower sequence than one before it, for one
  (endpoint, model).
- duplicate: an arrival that was acknowledged, and yet the message came again. Each
  is an attempt that a crash cut off before its record; any other is a violation.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.crash.databases import ENDPOINTS
from tests.crash.facts import Facts
from tests.crash.ledger import RequestLedger
from tests.receiver import ReceivedRequest
from webhooks.tables import DeliveryState

STAGE_CHANGED = "model_version.stage_changed"
Arrival = tuple[str, str]  # path and message id


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything a run left behind; ``before`` is the template's state."""

    before: Facts
    after: Facts
    requests: RequestLedger
    arrivals: Sequence[ReceivedRequest]
    statuses: Mapping[int, int]
    secrets: Mapping[str, str]

    @property
    def new_events(self) -> set[str]:
        return set(self.after.events) - set(self.before.events)

    @property
    def expected(self) -> set[Arrival]:
        """Both subscriptions want every event."""
        return {(path, event) for path in ENDPOINTS for event in self.new_events}

    def by_message(self) -> dict[Arrival, list[ReceivedRequest]]:
        """The arrivals of each message at each endpoint, in order."""
        found: dict[Arrival, list[ReceivedRequest]] = defaultdict(list)
        for arrival in self.arrivals:
            found[(arrival.path, arrival.message_id)].append(arrival)
        return found


@dataclass(kw_only=True)
class Verdict:
    """The figures of one run, and what is wrong."""

    committed: int = 0
    events: int = 0
    expected: int = 0
    received: int = 0
    lost: int = 0
    invented: int = 0
    inversions: int = 0
    duplicates: int = 0
    repeats: int = 0
    violations: list[str] = field(default_factory=list)


def judge(evidence: Evidence) -> Verdict:
    """Compare the ledgers."""
    by_message = evidence.by_message()
    expected, received = evidence.expected, set(by_message)
    verdict = Verdict(
        committed=len(evidence.requests.acknowledged),
        events=len(evidence.new_events),
        expected=len(expected),
        received=len(received),
        lost=len(expected - received),
        invented=len(received - expected),
        inversions=sum(_inversions(evidence, path) for path in ENDPOINTS),
        duplicates=sum(_duplicates(evidence, each) for each in by_message.values()),
        repeats=sum(len(each) - 1 for each in by_message.values()),
    )
    verdict.violations += [f"lost: {each}" for each in sorted(expected - received)]
    verdict.violations += [f"invented: {each}" for each in sorted(received - expected)]
    if verdict.inversions:
        verdict.violations.append(f"{verdict.inversions} inversions")
    for check in _CHECKS:
        verdict.violations += check(evidence)
    return verdict


def _inversions(evidence: Evidence, path: str) -> int:
    """Count steps backwards in the order of first arrivals, model by model."""
    sequences: dict[str, list[int]] = defaultdict(list)
    for event_id in dict.fromkeys(
        arrival.message_id for arrival in evidence.arrivals if arrival.path == path
    ):
        event = evidence.after.events.get(event_id)
        if event is not None:
            sequences[event.subject].append(event.data["sequence"])
    return sum(
        later < earlier
        for arrived in sequences.values()
        for earlier, later in pairwise(arrived)
    )


def _duplicates(evidence: Evidence, arrivals: Sequence[ReceivedRequest]) -> int:
    """Count the acknowledged arrivals that were followed by another."""
    statuses = [evidence.statuses[arrival.number] for arrival in arrivals]
    return statuses[:-1].count(200)


def _arrived_whole(evidence: Evidence) -> Iterator[str]:
    """Signed for its endpoint, and the committed bytes every time."""
    stored = {(row.path, row.event_id): row.body for row in evidence.after.deliveries}
    for arrival in evidence.arrivals:
        place = (arrival.path, arrival.message_id)
        event = evidence.after.events.get(arrival.message_id)
        if event is None or arrival.body != stored.get(place):
            yield f"other bytes than committed: {place}"
        elif json.loads(arrival.body)["data"] != event.data:
            yield f"other data than committed: {place}"
        try:
            Webhook(evidence.secrets[arrival.path]).verify(
                arrival.body, arrival.headers, json_parse=False
            )
        except WebhookVerificationError as error:
            yield f"bad signature: {place}: {error}"


def _repeats_explained(evidence: Evidence) -> Iterator[str]:
    """A message comes again only after a refusal or a crash."""
    by_message = evidence.by_message()
    for row in evidence.after.deliveries:
        arrivals = by_message[(row.path, row.event_id)]
        if _duplicates(evidence, arrivals) > row.unknown_count:
            yield f"acknowledged, and sent again without a crash: {row.event_id}"
        if len(arrivals) > len(row.outcomes):
            yield f"sent more often than attempted: {row.event_id}"


def _effects_once(evidence: Evidence) -> Iterator[str]:
    """Each acknowledged request has one audit entry and its events; no other has."""
    entries = defaultdict(list)
    for entry in evidence.after.entries[len(evidence.before.entries) :]:
        entries[entry["idempotency_key_hash"]].append(entry)
    announced: Counter[object] = Counter(
        _cause(evidence.after.events[event_id].data) for event_id in evidence.new_events
    )
    for operation in evidence.requests.acknowledged:
        own = entries.pop(hashlib.sha256(operation.key.encode()).hexdigest(), [])
        answered = _cause(evidence.requests.answers[operation.key].document)
        effects = [_effect(entry) for entry in own]
        if effects != [(answered, announced.pop(answered, 0))]:
            yield f"effects {effects}, expected one of {answered}: {operation}"
    for key_hash, rest in entries.items():
        yield f"an effect that nobody was answered: {key_hash} {rest[0]['action']}"
    for ghost in announced:
        yield f"an event without a change: {ghost}"


def _cause(document: Mapping[str, object]) -> object:
    """What ties an answer, an audit entry and an event to each other."""
    if "transition_id" in document:
        return document["transition_id"]
    return (document["model"], document["version"])


def _effect(entry: Mapping[str, object]) -> tuple[object, int]:
    """The tie of an audit entry, and how many events belong to it."""
    if entry["action"] != STAGE_CHANGED:
        return _cause(entry), 1
    after = entry["after"]
    assert isinstance(after, dict)
    return _cause(entry), 1 + len(after["superseded"])


def _state_sound(evidence: Evidence) -> Iterator[str]:
    """The audit chain, the final states and the fan-out."""
    facts = evidence.after
    if not facts.audit.ok or facts.audit.entries != len(facts.entries):
        yield f"audit chain damaged: {facts.audit}"
    states = Counter(row.state for row in facts.deliveries)
    if set(states) - {DeliveryState.DELIVERED}:
        yield f"not delivered: {dict(states)}"
    placed = {(row.path, row.event_id) for row in facts.deliveries}
    if placed != evidence.expected:
        yield "deliveries and events do not match"


def _numbers_sound(evidence: Evidence) -> Iterator[str]:
    """Version numbers and event sequences without gap, one incumbent a model."""
    numbers = defaultdict(list)
    for event in evidence.after.events.values():
        numbers[f"events of {event.subject}"].append(event.data["sequence"])
    for model, number, _ in evidence.after.stages:
        numbers[f"versions of {model}"].append(number)
    for what, found in numbers.items():
        if sorted(found) != list(range(1, len(found) + 1)):
            yield f"{what}: a gap or a number twice: {sorted(found)}"
    incumbents = Counter(
        model for model, _, stage in evidence.after.stages if stage == "Production"
    )
    if any(count != 1 for count in incumbents.values()):
        yield f"expected one incumbent a model: {incumbents}"


_CHECKS = (
    _arrived_whole,
    _repeats_explained,
    _effects_once,
    _state_sound,
    _numbers_sound,
)
