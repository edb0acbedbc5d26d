"""Each way a request can fail has one sentence, and none quotes the receiver."""

import http.client
import logging
import ssl

import pytest
import requests

from webhooks.sending.sender import MAX_ADDRESS_LENGTH, explain, explain_status

SECRET_URL = "https://ci.example/hook?token=hush"


def _alert(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] {SECRET_URL}")
    error.reason = reason
    return error


def _distrusted() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"
    return error


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (_distrusted(), "TLS: self-signed certificate"),
        (
            _alert("TLSV13_ALERT_CERTIFICATE_REQUIRED"),
            "TLS: the receiver demands a client certificate",
        ),
        (_alert("WRONG_VERSION_NUMBER"), "TLS: the handshake failed"),
        (ssl.SSLEOFError(SECRET_URL), "TLS: the handshake failed"),
        (TimeoutError(SECRET_URL), "the receiver stopped answering"),
        *(
            (error, "the connection broke or the answer was not HTTP")
            for error in (
                ConnectionResetError(SECRET_URL),
                http.client.BadStatusLine(SECRET_URL),
                http.client.RemoteDisconnected(SECRET_URL),
            )
        ),
        (requests.exceptions.InvalidHeader(SECRET_URL), "a header cannot be sent"),
        (UnicodeError(SECRET_URL), "a header cannot be sent"),
        (ValueError(SECRET_URL), "the URL is not allowed"),
    ],
)
def test_each_failure_has_its_sentence(error: Exception, sentence: str) -> None:
    assert explain(error) == sentence


def test_an_unknown_failure_is_logged_by_place_and_not_by_its_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        assert explain(RuntimeError(SECRET_URL)) == "the request could not be made"
    assert "RuntimeError" in caplog.text
    assert "hush" not in caplog.text


HOOK = "https://ci.example/hooks/1?token=hush"


@pytest.mark.parametrize("status", [100, 300, 304, 400, 404, 500, 599])
def test_a_status_is_told_and_nothing_else(status: int) -> None:
    said = explain_status(status, HOOK, "https://elsewhere.example/")

    assert said == f"the receiver answered {status}"


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://new.example/hook", "https://new.example/hook"),
        ("http://new.example:8080/a/b", "http://new.example:8080/a/b"),
        ("https://user:hush@new.example/x?token=hush#hush", "https://new.example/x"),
        ("/moved", "https://ci.example/moved"),
        ("2?token=hush", "https://ci.example/hooks/2"),
        ("//other.example", "https://other.example"),
        ("https://[2001:db8::1]:8443/a", "https://[2001:db8::1]:8443/a"),
        (
            "https://new.example/gr\u00fc\u00dfe\r\nx: y",
            "https://new.example/gr%C3%BC%C3%9Fex:%20y",
        ),
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_told_with_where_to_and_without_secrets(
    status: int, location: str, shown: str
) -> None:
    said = explain_status(status, HOOK, location)

    assert said == (
        f"the receiver answered {status}, a redirect to {shown};"
        " redirects are not followed"
    )


@pytest.mark.parametrize(
    "location",
    [None, "", "http://[", "http://a:b", "ftp://a/b", "javascript:alert(1)", "http://",
     "https://gr\u00fc\u00dfe.example/"],
)  # fmt: skip
def test_an_address_that_cannot_be_shown_is_not(location: str | None) -> None:
    said = explain_status(302, HOOK, location)

    assert said == (
        "the receiver answered 302, a redirect to no address that can be shown;"
        " redirects are not followed"
    )


def test_an_address_without_end_is_cut() -> None:
    said = explain_status(302, HOOK, "https://new.example/" + "a" * 9000)

    assert len(said) < MAX_ADDRESS_LENGTH + 100
