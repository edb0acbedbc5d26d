"""Each way a request can fail has one sentence, and none quotes the receiver."""

import logging
import ssl

import pytest
import requests
import urllib3

from webhooks.sending.failures import explain

SECRET_URL = "https://ci.example/hook?token=hush"


def _wrapped(cause: Exception) -> requests.exceptions.SSLError:
    """Wrap an error of ssl as urllib3 and requests do."""
    return requests.exceptions.SSLError(urllib3.exceptions.SSLError(cause))


def _alert(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] {SECRET_URL}")
    error.reason = reason
    return error


def _distrusted() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"
    return error


def _circular() -> requests.exceptions.SSLError:
    error = requests.exceptions.SSLError()
    error.__cause__ = error
    return error


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (_wrapped(_distrusted()), "TLS: self-signed certificate"),
        (
            _wrapped(_alert("TLSV13_ALERT_CERTIFICATE_REQUIRED")),
            "TLS: the receiver demands a client certificate",
        ),
        (_wrapped(_alert("WRONG_VERSION_NUMBER")), "TLS: the handshake failed"),
        (_circular(), "TLS: the handshake failed"),
        (requests.exceptions.ReadTimeout(SECRET_URL), "the receiver stopped answering"),
        (
            requests.exceptions.ConnectionError(SECRET_URL),
            "the connection broke or the answer was not HTTP",
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
