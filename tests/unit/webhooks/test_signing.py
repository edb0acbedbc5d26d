"""Signatures that other people's libraries accept."""

import base64
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from svix.webhooks import Webhook as SvixWebhook

from webhooks.events import new_event_id
from webhooks.signing import check_secret, new_secret, sign

# The vector that the Standard Webhooks libraries are tested with.
VECTOR_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
VECTOR_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
VECTOR_AT = datetime.fromtimestamp(1614265330, UTC)
VECTOR_BODY = b'{"test": 2432232314}'
VECTOR_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def secret_of(size: int) -> str:
    return "whsec_" + base64.b64encode(b"k" * size).decode()


def test_the_published_vector_is_reproduced() -> None:
    headers = sign(VECTOR_ID, VECTOR_AT, VECTOR_BODY, [VECTOR_SECRET])

    assert headers == {
        "webhook-id": VECTOR_ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": VECTOR_SIGNATURE,
    }


def test_an_instant_in_another_zone_signs_the_same() -> None:
    """The library alone would be two hours off here."""
    elsewhere = VECTOR_AT.astimezone(timezone(timedelta(hours=2)))

    headers = sign(VECTOR_ID, elsewhere, VECTOR_BODY, [VECTOR_SECRET])

    assert headers["webhook-signature"] == VECTOR_SIGNATURE


@given(st.text(), st.integers(min_value=1, max_value=4))
def test_what_we_sign_with_any_live_secret_both_libraries_accept(
    text: str, count: int
) -> None:
    secrets = [new_secret() for _ in range(count)]
    body = text.encode(errors="replace")

    headers = sign(new_event_id(), datetime.now(UTC), body, secrets)

    for secret in secrets:
        SvixWebhook(secret).verify(body, headers)
        Webhook(secret).verify(body, headers, json_parse=False)


def test_another_body_or_secret_is_not_accepted() -> None:
    secret = new_secret()
    headers = sign(new_event_id(), datetime.now(UTC), b"{}", [secret])

    with pytest.raises(WebhookVerificationError):
        SvixWebhook(secret).verify(b"{ }", headers)
    with pytest.raises(WebhookVerificationError):
        SvixWebhook(new_secret()).verify(b"{}", headers)


@pytest.mark.parametrize(
    ("message_id", "instant", "secrets"),
    [
        ("msg_a", VECTOR_AT, []),
        ("msg.a", VECTOR_AT, [VECTOR_SECRET]),
        ("msg_a", VECTOR_AT.replace(tzinfo=None), [VECTOR_SECRET]),
    ],
)
def test_what_cannot_be_signed_safely_is_refused(
    message_id: str, instant: datetime, secrets: list[str]
) -> None:
    with pytest.raises(ValueError, match=r"secret|dot|aware"):
        sign(message_id, instant, b"{}", secrets)


def test_new_secrets_are_valid_and_differ() -> None:
    first, second = new_secret(), new_secret()

    check_secret(first)
    assert first != second


@pytest.mark.parametrize("secret", [secret_of(24), secret_of(64), VECTOR_SECRET])
def test_secrets_of_24_to_64_bytes_are_valid(secret: str) -> None:
    check_secret(secret)


@pytest.mark.parametrize(
    "secret", ["plain", "whsec_***", secret_of(23), secret_of(65), "whsec_"]
)
def test_other_secrets_are_refused(secret: str) -> None:
    with pytest.raises(ValueError, match="a signing secret"):
        check_secret(secret)
