"""An issuer's keys are kept, renewed, and not asked for again and again."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from registry.errors import IdentityProviderError, NotSignedInError
from registry.identity import issuer as issuer_module
from registry.identity.issuer import (
    COOL_DOWN_SECONDS,
    KEPT_SECONDS,
    KEPT_WITHOUT_ANSWER_SECONDS,
    Issuer,
)
from tests.identity_provider import IdentityProvider
from tests.waiting import STALL_SECONDS


@dataclass
class Clock:
    seconds: float = 1.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def provider() -> Iterator[IdentityProvider]:
    with IdentityProvider() as running:
        yield running


@pytest.fixture
def issuer(provider: IdentityProvider, clock: Clock) -> Issuer:
    return Issuer(provider.url, algorithms=["RS256"], clock=clock)


def asked(provider: IdentityProvider) -> int:
    return provider.requests.count("/keys")


def test_keys_are_fetched_once_an_hour(
    issuer: Issuer, provider: IdentityProvider, clock: Clock
) -> None:
    for _ in range(3):
        issuer.key(provider.kid)
        issuer.metadata()
    clock.seconds += KEPT_SECONDS
    issuer.key(provider.kid)
    assert asked(provider) == 1

    clock.seconds += 1
    issuer.key(provider.kid)

    assert asked(provider) == 2


def test_new_key_is_found_and_made_up_ones_do_not_ask_again(
    issuer: Issuer, provider: IdentityProvider, clock: Clock
) -> None:
    issuer.key(provider.kid)
    for _ in range(3):
        with pytest.raises(NotSignedInError):
            issuer.key("made-up")
    assert asked(provider) == 1

    clock.seconds += COOL_DOWN_SECONDS
    old, provider.kid = provider.kid, "new"

    issuer.key("new")
    assert asked(provider) == 2
    with pytest.raises(NotSignedInError):
        issuer.key(old)


def test_what_is_known_is_used_on_for_a_day_without_an_answer(
    issuer: Issuer, provider: IdentityProvider, clock: Clock
) -> None:
    issuer.key(provider.kid)
    provider.is_down = True

    clock.seconds += KEPT_WITHOUT_ANSWER_SECONDS
    issuer.key(provider.kid)

    clock.seconds += 1
    with pytest.raises(IdentityProviderError):
        issuer.key(provider.kid)


def test_answer_without_a_key_does_not_take_the_place_of_one_with_some(
    issuer: Issuer, provider: IdentityProvider, clock: Clock
) -> None:
    issuer.key(provider.kid)
    provider.jwks = lambda: {"keys": []}

    clock.seconds += KEPT_SECONDS + 1

    issuer.key(provider.kid)
    assert asked(provider) == 2


def test_failure_cools_down_and_is_tried_again(
    issuer: Issuer, provider: IdentityProvider, clock: Clock
) -> None:
    provider.is_down = True
    for _ in range(3):
        with pytest.raises(IdentityProviderError):
            issuer.metadata()
    assert len(provider.requests) == 1

    provider.is_down = False
    clock.seconds += COOL_DOWN_SECONDS

    issuer.metadata()


def test_nobody_waits_for_keys_that_are_known(
    issuer: Issuer,
    provider: IdentityProvider,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    issuer.key(provider.kid)
    clock.seconds += KEPT_SECONDS + 1
    begun, answered = threading.Event(), threading.Event()

    def slow(_: str) -> dict[str, object]:
        begun.set()
        assert answered.wait(STALL_SECONDS)
        raise IdentityProviderError

    monkeypatch.setattr(issuer_module, "fetched", slow)
    fetching = threading.Thread(target=issuer.key, args=[provider.kid])
    fetching.start()
    assert begun.wait(STALL_SECONDS)

    issuer.key(provider.kid)  # while the other thread waits for the issuer

    answered.set()
    fetching.join()
