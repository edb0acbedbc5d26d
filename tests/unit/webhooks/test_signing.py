"""Signatures that other people's libraries accept."""

import base64
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from svix.webhooks import Webhook as SvixWebhook

from webhooks.events import new_event_id
from webhooks.sending.prepare import (
    check_secret,
    new_private_key,
    new_secret,
    public_key_of,
    sign,
)

# The vector that the Standard Webhooks libraries are tested with.
VECTOR_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
VECTOR_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
VECTOR_AT = datetime.fromtimestamp(1614265330, UTC)
VECTOR_BODY = b'{"test": 2432232314}'
VECTOR_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


# As above, for ed25519.
VECTOR_PAIR = (
    "6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicM"
    "Fs6Kvg=="
)
VECTOR_V1A = (
    "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8E"
    "M+m7TBAg=="
)


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


def test_the_published_vector_of_ed25519_is_reproduced() -> None:
    headers = sign(
        VECTOR_ID, VECTOR_AT, VECTOR_BODY, [VECTOR_SECRET, f"whsk_{VECTOR_PAIR}"]
    )

    assert headers["webhook-signature"] == f"{VECTOR_SIGNATURE} {VECTOR_V1A}"


def test_the_public_key_of_the_vector_is_its_second_half() -> None:
    public = base64.b64decode(VECTOR_PAIR)[32:]

    found = public_key_of(f"whsk_{VECTOR_PAIR}")

    assert found == "whpk_" + base64.b64encode(public).decode()


@given(st.text())
def test_what_we_sign_with_a_new_key_its_public_half_verifies(text: str) -> None:
    private_key, body = new_private_key(), text.encode(errors="replace")

    headers = sign("msg_a", VECTOR_AT, body, [private_key])

    scheme, _, signature = headers["webhook-signature"].partition(",")
    public = base64.b64decode(public_key_of(private_key).removeprefix("whpk_"))
    signed = b"msg_a." + headers["webhook-timestamp"].encode() + b"." + body
    # Raises when it does not fit.
    Ed25519PublicKey.from_public_bytes(public).verify(
        base64.b64decode(signature), signed
    )
    assert scheme == "v1a"


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
