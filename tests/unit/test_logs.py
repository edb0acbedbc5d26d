"""Logs: one line of JSON an event, and no credential in it."""

import json
import logging
from collections.abc import Iterator

import pytest

from registry.logs import configure_logging


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Give the root logger back what it had."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before


def test_credentials_in_addresses_are_masked_in_messages_and_tracebacks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("INFO")
    address = "http://user:hidden-1@store/key?sig=hidden-2"
    error = OSError(f"no answer from {address}")

    logging.getLogger("registry.test").error("failed at=%s", address, exc_info=error)

    line = capsys.readouterr().err
    event = json.loads(line)
    assert event["event"] == "failed at=http://***@store/key?***"
    assert "OSError: no answer from http://***@store/key?***" in event["exception"]
    assert "hidden" not in line
