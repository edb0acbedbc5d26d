"""Who gets how many of the senders; the clock is the test's."""

from dataclasses import replace

from tests.unit.webhooks.claim_samples import make_claim
from webhooks.queue.fairness import FRESH_SECONDS, MAX_PER_FAILING, SLOW_SECONDS, Slots
from webhooks.sending.prepare import Claim


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def start(slots: Slots, subscription: str, count: int) -> list[Claim]:
    claims = [make_claim(subscription_id=subscription) for _ in range(count)]
    for claim in claims:
        slots.begin(claim)
    return claims


def take(slots: Slots, subscription: str, *, is_failing: bool = False) -> int:
    """Say how many of the next claim an endpoint may have."""
    quota = slots.quota()
    count = 0
    while quota.take(subscription, is_failing=is_failing):
        count += 1
    return count


def test_a_send_that_ends_gives_its_slot_back() -> None:
    slots = Slots(16, 64, clock=Clock())
    claims = start(slots, "one", 3)
    assert (slots.count, slots.free()) == (3, 13)

    for claim in claims:
        slots.end(claim)

    assert (slots.count, slots.free()) == (0, 16)


def test_a_delivery_whose_lease_ended_while_it_was_sent_has_two_slots() -> None:
    slots = Slots(8, 16)
    (first,) = start(slots, "one", 1)
    second = replace(first, attempt=2)
    slots.begin(second)
    counts = [slots.count]

    for claim in (first, second):
        slots.end(claim)
        counts.append(slots.count)

    assert counts == [2, 1, 0]


def test_a_send_that_hangs_makes_room_until_the_threads_are_used_up() -> None:
    clock = Clock()
    slots = Slots(16, 20, clock=clock)
    start(slots, "one", 16)
    assert slots.free() == 0

    clock.seconds = FRESH_SECONDS
    assert slots.free() == 4

    start(slots, "two", 4)
    clock.seconds *= 2
    assert slots.free() == 0


def test_one_endpoint_has_at_most_half_of_the_slots() -> None:
    slots = Slots(16, 64, clock=Clock())

    assert take(slots, "one") == 8
    start(slots, "one", 5)
    assert take(slots, "one") == 3
    assert take(slots, "two") == 8


def test_a_full_endpoint_is_passed_over_in_the_query() -> None:
    slots = Slots(16, 64, clock=Clock())
    start(slots, "full", 8)
    start(slots, "other", 7)

    assert slots.quota().passed_over == {"full"}


def test_an_endpoint_whose_sends_hang_gets_half_of_that() -> None:
    clock = Clock()
    slots = Slots(16, 64, clock=clock)
    start(slots, "slow", 1)
    clock.seconds = SLOW_SECONDS

    assert take(slots, "slow") == 3
    assert take(slots, "other") == 8


def test_a_failing_endpoint_gets_the_least() -> None:
    slots = Slots(16, 64, clock=Clock())

    assert take(slots, "failing", is_failing=True) == MAX_PER_FAILING


def test_a_small_dispatcher_still_sends_more_than_one_at_a_time() -> None:
    assert take(Slots(2, 64), "one") == 2


def test_failing_endpoints_together_leave_half_of_the_threads() -> None:
    slots = Slots(4, 8, clock=Clock())
    assert not slots.quota().is_healthy_only
    assert slots.free_probes() == 2

    for number in range(4):
        claim = make_claim(subscription_id=f"failing-{number}")
        slots.begin(replace(claim, is_endpoint_failing=True))

    assert slots.quota().is_healthy_only
    assert slots.free_probes() == 0
