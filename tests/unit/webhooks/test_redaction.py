"""No secret in what is recorded, in whatever encoding it comes back."""

import base64
import html
import json
import re
from urllib.parse import quote, quote_plus

import pytest

from webhooks.sending.sender import REDACTED, Redactor

SECRET = 'Pa ss/w"ö&??>>~1'


@pytest.mark.parametrize(
    "echo",
    [
        SECRET,
        quote(SECRET),
        quote(SECRET, safe=""),
        re.sub("%..", lambda escape: escape[0].lower(), quote(SECRET)),
        quote_plus(SECRET),
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        html.escape(SECRET),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
    ],
)
def test_an_echoed_secret_is_replaced_in_every_encoding(echo: str) -> None:
    redactor = Redactor([SECRET], {})

    body = redactor.body(f"you sent {echo}!".encode())
    read_as_latin = f"you sent {echo}!".encode().decode("latin-1")
    headers = redactor.response_headers({"X-Echo": read_as_latin})

    assert REDACTED.encode() in body
    assert REDACTED in headers["x-echo"]
    assert REDACTED in redactor.text(echo)
    for seen in (body.decode(), headers["x-echo"]):
        assert echo not in seen
        assert seen.startswith("you sent ")
        assert seen.endswith("!")


@pytest.mark.parametrize("length", range(4, len("a-long-secret")))
def test_the_beginning_of_a_secret_at_the_cut_is_replaced(length: int) -> None:
    body = b"you sent " + b"a-long-secret"[:length]

    assert Redactor(["a-long-secret"], {}).body(body) == b"you sent (redacted)"


def test_what_begins_like_a_secret_and_goes_on_otherwise_stays() -> None:
    body = b"you sent a-long-way"

    assert Redactor(["a-long-secret"], {}).body(body) == body


def test_a_body_without_a_secret_stays_as_it_is() -> None:
    body = bytes(range(256))

    assert Redactor(["a-long-secret", ""], {}).body(body) == body


def test_a_secret_within_a_longer_one_does_not_spoil_it() -> None:
    redactor = Redactor(["token", "token-and-more"], {})

    assert redactor.text("token-and-more") == REDACTED


def test_request_headers_are_recorded_by_name() -> None:
    redactor = Redactor(["s3cret"], {})

    recorded = redactor.request_headers(
        {
            "content-type": "application/json; s3cret",
            "Webhook-Id": "msg_1",
            "ce-type": "a.b",
            "webhook-signature": "v1,abc",
            "Authorization": "Bearer x",
            "x-anything-else": "x",
        }
    )

    assert recorded == {
        "content-type": "application/json; (redacted)",
        "Webhook-Id": "msg_1",
        "ce-type": "a.b",
        "webhook-signature": REDACTED,
        "Authorization": REDACTED,
        "x-anything-else": REDACTED,
    }


def test_what_was_left_out_of_the_request_is_left_out_of_the_answer() -> None:
    headers = {"authorization": "Basic dXNlcjpwYXNz", "webhook-id": "msg_long_id"}
    redactor = Redactor([], headers)

    assert redactor.text("Basic dXNlcjpwYXNz msg_long_id") == (
        "Basic (redacted) msg_long_id"
    )


def test_cookies_and_names_of_an_answer_are_replaced() -> None:
    redactor = Redactor(["s3cret"], {})

    assert redactor.response_headers({"Set-Cookie": "a=b", "X-s3cret": "x"}) == {
        "set-cookie": REDACTED,
        "x-(redacted)": "x",
    }
