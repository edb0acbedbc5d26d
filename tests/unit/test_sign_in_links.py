"""The ticket of a link that signs in once."""

from datetime import UTC, datetime, timedelta

import pytest

from registry.domain.sign_in_links import LIFETIME, SignInLinks
from registry.errors import NotSignedInError

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
LINKS = SignInLinks(["first-key", "second-key"])
TICKET = LINKS.ticket(now=NOW)


def test_ticket_gives_one_cookie_that_it_does_not_show() -> None:
    cookie = LINKS.cookie_of(TICKET, now=NOW)

    assert cookie == LINKS.cookie_of(TICKET, now=NOW + timedelta(minutes=1))
    assert cookie not in TICKET
    assert len(cookie) == 43
    assert cookie != LINKS.cookie_of(LINKS.ticket(now=NOW), now=NOW)


def test_ticket_expires() -> None:
    LINKS.cookie_of(TICKET, now=NOW + LIFETIME - timedelta(seconds=1))

    with pytest.raises(NotSignedInError, match="expired"):
        LINKS.cookie_of(TICKET, now=NOW + LIFETIME)


def test_any_key_of_the_operator_verifies_and_the_first_signs() -> None:
    turned = SignInLinks(["new-key", "first-key"])

    assert turned.cookie_of(TICKET, now=NOW) == LINKS.cookie_of(TICKET, now=NOW)
    with pytest.raises(NotSignedInError, match="not this server's"):
        SignInLinks(["second-key"]).cookie_of(TICKET, now=NOW)


@pytest.mark.parametrize("place", range(0, len(TICKET), 7))
def test_changed_ticket_is_refused(place: int) -> None:
    other = "A" if TICKET[place] != "A" else "B"
    changed = TICKET[:place] + other + TICKET[place + 1 :]

    with pytest.raises(NotSignedInError):
        LINKS.cookie_of(changed, now=NOW)


@pytest.mark.parametrize("form", ["", ".", "{}.", " {}", "é" * 80])
def test_what_is_no_ticket_is_refused(form: str) -> None:
    ticket = form.format(TICKET)

    with pytest.raises(NotSignedInError, match="not whole"):
        LINKS.cookie_of(ticket, now=NOW)


def test_a_key_is_needed() -> None:
    with pytest.raises(ValueError, match="at least one key"):
        SignInLinks([])
