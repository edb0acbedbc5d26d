"""Formats by name, and what a failing one says."""

from datetime import UTC, datetime

import pytest

from webhooks import formats
from webhooks.errors import RenderError
from webhooks.events import Event, standard_body

PING = Event("webhook.ping", "k", "s", None, {}, datetime(2026, 11, 20, tzinfo=UTC))


def test_the_standard_format_is_the_standard_body() -> None:
    rendered = formats.render("standard", "msg_a", PING)

    assert rendered.body == standard_body(PING)
    assert rendered.content_type == "application/json"


def test_an_unknown_format_is_named_in_the_error() -> None:
    with pytest.raises(RenderError, match="smoke-signals"):
        formats.render("smoke-signals", "msg_a", PING)
