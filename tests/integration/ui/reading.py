"""What a page says, and the forms on it."""

import re
from collections.abc import Mapping
from html import unescape

from werkzeug.test import TestResponse

from tests.integration.api.driver import Driver

_SPACE = re.compile(r"\s+")
_TAG = re.compile(r"<[^>]*>")


def read(by: Driver, path: str, status: int = 200) -> str:
    """The markup of a page."""
    answer = by.client.get(path)
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "text/html"
    return answer.text


def said(markup: str) -> str:
    """What a page says to who reads it, as one line."""
    return _SPACE.sub(" ", unescape(_TAG.sub(" ", markup)))


def section(markup: str, name: str) -> str:
    """What the part of a page under a heading says."""
    found = re.search(
        rf'<section class="panel" aria-labelledby="{name}">(.*?)</section>',
        markup,
        re.DOTALL,
    )
    assert found, name
    return said(found[1])


def hidden(markup: str, name: str) -> str:
    """The value of a hidden field."""
    found = re.search(rf'<input type="hidden" name="{name}" value="([^"]*)"', markup)
    assert found, name
    return unescape(found[1])


def send(by: Driver, path: str, form: Mapping[str, str]) -> TestResponse:
    """Send a form."""
    return by.client.post(path, data=form)


def gone_on(answer: TestResponse) -> str:
    """Where a form that did something leads."""
    assert answer.status_code == 303, answer.text
    return str(answer.location)
