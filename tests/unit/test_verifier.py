"""Whatever is shown as a JWT is taken as what it was, or refused; no more happens."""

import string
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain.publishers import JobProvider
from registry.errors import NotSignedInError
from registry.identity.jobs import JobIssuers
from registry.identity.verifier import MAX_TOKEN_CHARACTERS
from tests.identity_provider import CLIENT, IdentityProvider

URL_SAFE = string.ascii_letters + string.digits + "-_"
ISSUERS = JobIssuers()


@pytest.fixture(scope="module")
def signed() -> Iterator[tuple[str, str]]:
    """A right token, and its issuer, who answers."""
    with IdentityProvider() as provider:
        yield provider.bearer(exp=int(time.time()) + 3600), provider.url


@given(st.text(max_size=80) | st.from_regex(r"eyJ[\w-]*\.[\w-]+\.[\w-]+"))
def test_no_text_is_more_than_refused(text: str) -> None:
    with suppress(NotSignedInError):
        assert ISSUERS.named_by(text).isprintable()


@given(st.data())
def test_t3_token_with_a_character_changed_is_refused_or_says_the_same(
    signed: tuple[str, str], data: st.DataObject
) -> None:
    token, issuer = signed
    place = data.draw(st.integers(0, len(token) - 1))
    character = data.draw(st.sampled_from(URL_SAFE + "."))
    changed = token[:place] + character + token[place + 1 :]
    right = claims(token, issuer)

    try:
        found = claims(changed, issuer)
    except NotSignedInError:
        return
    # The last character of a signature has bits that belong to no byte.
    assert changed[:-1] == token[:-1]
    assert found == right


def claims(token: str, issuer: str) -> object:
    provider = JobProvider.GITHUB
    return ISSUERS.verified(token, issuer, provider, audience=CLIENT)


def test_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(NotSignedInError, match="8 KiB"):
        ISSUERS.named_by("eyJ" + "a" * MAX_TOKEN_CHARACTERS + ".a.a")
