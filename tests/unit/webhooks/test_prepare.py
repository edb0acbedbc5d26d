"""From a claim to a request: what is filled, what is signed, what cannot be sent."""

import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any

import pytest
from svix.webhooks import Webhook as SvixWebhook

from webhooks.errors import UnsendableError
from webhooks.roster.secrets import SecretBox, seal_credentials
from webhooks.sending.prepare import Claim, new_private_key, new_secret, prepare
from webhooks.sending.tls import PUBLIC, Tls
from webhooks.tables import DeliveryKind

BOX = SecretBox(["a key for tests"])
ELSEWHERE = SecretBox(["another key"])
SECRET = new_secret()


def claim(**parts: Any) -> Claim:  # noqa: ANN401  # Any field of Claim.
    values: dict[str, Any] = {
        "delivery_id": "dlv_a",
        "subscription_id": "sub_a",
        "queue_id": 1,
        "lease_token": "t",
        "attempt": 1,
        "kind": DeliveryKind.EVENT,
        "event_id": "msg_a",
        "event_type": "a.b",
        "created_at": datetime(2026, 11, 20, 12, 0, tzinfo=UTC),
        "url": "https://example.com/hook",
        "body": b"{}",
        "content_type": "application/json",
        "sealed_secrets": (BOX.seal(SECRET),),
        "is_probe": False,
        "follows_gap": False,
        "is_followed": False,
        "is_endpoint_failing": False,
    }
    return Claim(**(values | parts))


def sealed(**credentials: str) -> str | None:
    return seal_credentials(BOX, credentials)


def test_everything_is_filled_and_the_filled_body_is_signed() -> None:
    outgoing = prepare(
        claim(
            url="https://example.com/${path}",
            body=b'{"a":"\0token\0","b":"\0deployment_token\0"}',
            headers={"x-key": "v ${token}"},
            delivery_headers={"accept": "a/b"},
            sealed_credentials=sealed(path="p-secret", token='t"1'),
        ),
        BOX,
        datetime.now(UTC),
    )

    assert outgoing.url == "https://example.com/p-secret"
    assert outgoing.body == b'{"a":"t\\"1","b":""}'
    assert outgoing.headers["x-key"] == 'v t"1'
    assert outgoing.headers["accept"] == "a/b"
    assert {"p-secret", 't"1', SECRET} <= set(outgoing.secrets)
    assert outgoing.tls == PUBLIC
    SvixWebhook(SECRET).verify(outgoing.body, dict(outgoing.headers))


def test_nothing_of_a_request_is_in_its_representation() -> None:
    outgoing = prepare(
        claim(url="https://example.com/${a}", sealed_credentials=sealed(a="canary")),
        BOX,
        datetime.now(UTC),
    )

    assert repr(outgoing) == "Outgoing()"


def test_a_replay_and_a_gap_are_marked() -> None:
    ordinary = prepare(claim(), BOX, datetime.now(UTC)).headers
    replay = prepare(claim(kind=DeliveryKind.REPLAY), BOX, datetime.now(UTC)).headers
    later = prepare(claim(follows_gap=True), BOX, datetime.now(UTC)).headers

    assert (replay["webhook-replay"], later["webhook-gap"]) == ("true", "true")
    assert not {"webhook-replay", "webhook-gap"} & set(ordinary)


def test_lent_values_travel_in_a_header_of_the_standard_format() -> None:
    outgoing = prepare(claim(), BOX, datetime.now(UTC), {"deployment_token": "lent-1"})

    assert outgoing.headers["webhook-deployment-token"] == "lent-1"
    assert "lent-1" in outgoing.secrets


def test_only_the_schemes_that_were_asked_for_sign() -> None:
    private = new_private_key()
    both = (BOX.seal(SECRET), BOX.seal(private))

    for signatures in (("v1",), ("v1a",), ("v1", "v1a")):
        outgoing = prepare(
            claim(sealed_secrets=both, signatures=signatures), BOX, datetime.now(UTC)
        )
        given = outgoing.headers["webhook-signature"].split()
        assert {entry.split(",")[0] for entry in given} == set(signatures)


def test_the_hub_signature_covers_the_filled_body() -> None:
    outgoing = prepare(
        claim(
            body=b'"\0hub\0"',
            options={"hub_signature": "${hub}"},
            sealed_credentials=sealed(hub="hub-secret"),
        ),
        BOX,
        datetime.now(UTC),
    )

    digest = hmac.new(b"hub-secret", b'"hub-secret"', hashlib.sha256).hexdigest()
    assert outgoing.headers["x-hub-signature-256"] == f"sha256={digest}"


def test_the_owners_authorization_takes_the_place_of_the_formats() -> None:
    outgoing = prepare(
        claim(
            format="github",
            headers={"authorization": "token ${mine}"},
            sealed_credentials=sealed(mine="pat-1"),
        ),
        BOX,
        datetime.now(UTC),
    )

    assert outgoing.headers["authorization"] == "token pat-1"


def test_certificates_and_the_opened_key_go_along() -> None:
    outgoing = prepare(
        claim(
            ca_certificate="CA",
            client_certificate="OURS",
            sealed_client_key=BOX.seal("KEY"),
        ),
        BOX,
        datetime.now(UTC),
    )

    assert outgoing.tls == Tls("CA", "OURS", "KEY")


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"sealed_secrets": ()}, "signing secret"),
        ({"sealed_secrets": (ELSEWHERE.seal(SECRET),)}, "signing secret"),
        ({"signatures": ("v1a",)}, "signing secret"),
        ({"sealed_secrets": (BOX.seal("whsec_a"),)}, "signing secret"),
        (
            {"sealed_credentials": seal_credentials(ELSEWHERE, {"a": "canary"})},
            "credentials cannot be opened",
        ),
        ({"sealed_client_key": ELSEWHERE.seal("canary")}, "cannot be opened"),
        ({"url": "https://example.com/${gone}"}, "'gone' is missing"),
        ({"body": b"\0gone\0"}, "'gone' is missing"),
        ({"headers": {"x": "${gone}"}}, "'gone' is missing"),
        (
            {
                "headers": {"x": "${a}"},
                "sealed_credentials": sealed(a="canary\r\nX: y"),
            },
            "the header x is not one line",
        ),
        ({"format": "github"}, "needs the credential 'token'"),
        ({"options": {"hub_signature": "plain"}}, "the name of a credential"),
    ],
)
def test_what_cannot_be_sent_says_why_and_no_secret(
    parts: dict[str, Any], said: str
) -> None:
    with pytest.raises(UnsendableError, match=said) as caught:
        prepare(claim(**parts), BOX, datetime.now(UTC))

    assert "canary" not in str(caught.value)


def test_a_format_that_is_gone_still_sends_what_was_rendered() -> None:
    outgoing = prepare(claim(format="smoke-signals"), BOX, datetime.now(UTC))

    assert outgoing.body == b"{}"
