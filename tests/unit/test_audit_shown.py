"""What pages show of an entry of the audit log."""

import json
from typing import Any

import pytest

from registry.ui.audit_shown import (
    SHOWN_CHARACTERS,
    Difference,
    ShownEntry,
    differences,
    shown_entry,
)


def entry_of(action: str = "token.created", **members: Any) -> ShownEntry:  # noqa: ANN401
    text = {"action": action, "before": None, "after": None, **members}
    document = {"action": action, "model": None, "entry": json.dumps(text)}
    return shown_entry(document)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1, "b": "x"}, {"a": 2, "b": "x"}, [("a", "1", "2")]),
        ({"t": {"k": "v"}}, {"t": {"k": "w", "l": "n"}}, [
            ("t.k", "v", "w"),
            ("t.l", None, "n"),
        ]),
        ({"t": {"k": "v"}}, {"t": {}}, [("t.k", "v", None)]),
        (None, {"a": "x", "b": "", "c": [], "d": {}, "e": None}, [("a", None, "x")]),
        ({"a": "x"}, None, [("a", "x", None)]),
        ({"a": "x"}, {"a": ""}, [("a", "x", "")]),
        ({"a": [1]}, {"a": [1, 2]}, [("a", "[1]", "[1, 2]")]),
        (None, None, []),
        ("x", {"a": 1}, [("", "x", '{"a": 1}')]),
    ],
)  # fmt: skip
def test_members_that_differ_are_shown(
    before: object, after: object, expected: list[tuple[str, str | None, str | None]]
) -> None:
    assert list(differences(before, after)) == [Difference(*each) for each in expected]


def test_long_values_are_shown_by_their_beginning() -> None:
    (found,) = differences(None, {"a": "é" * (SHOWN_CHARACTERS + 1)})

    assert found.after == "é" * SHOWN_CHARACTERS + "…"


def test_more_differences_than_are_shown_are_counted() -> None:
    document = entry_of(after={str(n): n for n in range(100)})

    assert len(document.differences) + document.hidden == 100


def test_entry_says_what_it_was_done_to() -> None:
    assert entry_of(after={"name": "ci"}).thing == "ci"
    assert entry_of(before={"subject": "ml-leads", "name": ""}).thing == "ml-leads"
    assert entry_of().thing == ""


def test_change_of_stage_says_from_where_to_where() -> None:
    moved = {"before": {"stage": "None"}, "after": {"stage": "Staging"}}

    assert entry_of("model_version.stage_changed", **moved).moved == ("None", "Staging")
    assert entry_of("model_version.stage_changed", before={}).moved is None
    assert entry_of("model_version.updated", **moved).moved is None


def test_link_to_a_ci_run_leads_to_the_web_alone() -> None:
    for url in ("javascript:alert(1)", "data:text/html,x", "/audit", 7, None):
        assert entry_of(on_behalf_of={"run_url": url}).run_url == ""
    run = "https://github.com/acme/fraud/actions/runs/7"
    assert entry_of(on_behalf_of={"run_url": run}).run_url == run


@pytest.mark.parametrize("text", ["", "[]", "{", '{"actor":[],"before":7,"after":"x"}'])
def test_text_that_somebody_destroyed_is_shown_all_the_same(text: str) -> None:
    found = shown_entry({"action": None, "model": None, "entry": text})

    assert (found.title, found.credential, found.run_url) == ("None", "", "")
    assert (found.actor, found.behalf, found.moved, found.thing) == ({}, {}, None, "")
