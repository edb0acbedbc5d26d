"""What of an entry is for everybody, by its text alone."""

import dataclasses
import json

import pytest

from registry.domain.audit_chain import SealedEntry, seal
from registry.domain.audit_privacy import (
    LEFT_OUT,
    private_webhook,
    public,
    public_webhook,
    source_ip,
)


@pytest.mark.parametrize(
    ("url", "to_all", "to_admins"),
    [
        ("https://host/", "https://host/", "https://host/"),
        ("https://host", "https://host/", "https://host/"),
        ("https://host:8443/a/b", "https://host:8443/…", "https://host:8443/a/b"),
        ("https://host/a?b=c", "https://host/…", "https://host/a?…"),
        ("https://host?b=c", "https://host/…", "https://host/?…"),
        ("https://host/a#b", "https://host/…", "https://host/a?…"),
        ("https://user:pass@host/a", "https://host/…", "https://host/a"),
        ("https://[::1]/${secret}", "https://[::1]/…", "https://[::1]/${secret}"),
        ("https://[", "…", "…"),
        (None, "…", "…"),
    ],
)
def test_url_is_shown_as_far_as_it_is_meant_for_the_reader(
    url: str | None, to_all: str, to_admins: str
) -> None:
    document = {"url": url}

    assert public_webhook(document)["url"] == to_all
    assert private_webhook(document)["url"] == to_admins
    assert public_webhook(public_webhook(document)) == public_webhook(document)


def test_names_of_headers_and_options_stay_and_their_texts_go() -> None:
    document = {
        "url": "https://host/",
        "headers": {"x-a": "1"},
        "options": {"ref": "main", "inputs": {"key": "2"}, "events": ["a"]},
        "format": "github",
    }

    assert public_webhook(document) == {
        **document,
        "headers": {"x-a": LEFT_OUT},
        "options": {"ref": "main", "inputs": {"key": LEFT_OUT}, "events": ["a"]},
    }


def entry_with(**text: object) -> SealedEntry:
    return seal("a", None, text, private={"source_ip": "192.0.2.1"})


def test_entry_without_anything_to_hide_is_shown_as_it_was_sealed() -> None:
    entry = entry_with(action="webhook.tested", after={"id": "x"})

    shown = public(entry)

    assert shown.canonical == entry.canonical
    assert (shown.private, shown.is_withheld, shown.is_redacted) == (None, True, False)
    assert (source_ip(entry), source_ip(shown)) == ("192.0.2.1", None)


def test_damage_of_a_private_part_shows_without_it() -> None:
    edited = dataclasses.replace(entry_with(), private="{}")

    assert public(edited).private == ""


@pytest.mark.parametrize("text", ["", "[", "[1]", '"192.0.2.1"'])
def test_text_that_is_no_entry_is_shown_to_nobody(text: str) -> None:
    shown = public(dataclasses.replace(entry_with(), canonical=text))

    assert (shown.canonical, shown.is_redacted) == ("", False)
    assert source_ip(shown) is None


@pytest.mark.parametrize(("prev_hash", "is_redacted"), [("0" * 64, True), ("x", False)])
def test_entry_of_the_former_version_is_redacted(
    prev_hash: str, *, is_redacted: bool
) -> None:
    members = {"action": "webhook.created", "before": None}
    webhook = {"url": "https://host/path"}
    former = seal("a", None, {**members, "source_ip": "192.0.2.1", "after": webhook})
    entry = dataclasses.replace(former, prev_hash=prev_hash)

    shown = public(entry)

    assert json.loads(shown.canonical) == {
        **members,
        "after": {"url": "https://host/…", "headers": None, "options": {}},
        "chain": "a",
        "n": 1,
    }
    assert shown.is_redacted is is_redacted
    assert source_ip(entry) == "192.0.2.1"
