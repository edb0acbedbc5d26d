"""Events: checked when made, rendered the same each time, filtered exactly."""

import dataclasses
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.events import (
    Event,
    matches_event_type,
    matches_subject,
    matches_target,
    new_event_id,
    new_sortable_id,
    standard_body,
)

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
PING = Event("webhook.ping", "key", "fraud", None, {"n": 1}, NOON)


def test_the_body_has_type_timestamp_and_data() -> None:
    assert standard_body(PING) == (
        b'{"type":"webhook.ping","timestamp":"2026-11-20T12:00:00.000000Z",'
        b'"data":{"n":1}}'
    )


def test_the_timestamp_is_written_in_utc() -> None:
    eastern = NOON.astimezone(timezone(timedelta(hours=-5)))
    moved = dataclasses.replace(PING, occurred_at=eastern)

    assert standard_body(moved) == standard_body(PING)


@given(
    st.dictionaries(
        st.text(), st.none() | st.booleans() | st.integers() | st.text(), max_size=5
    )
)
def test_any_json_data_comes_back_from_its_body(data: dict[str, Any]) -> None:
    body = standard_body(dataclasses.replace(PING, data=data))

    assert b"\0" not in body
    assert json.loads(body)["data"] == data


def test_characters_are_sent_as_they_are() -> None:
    body = standard_body(dataclasses.replace(PING, data={"name": "Ж🚀"}))

    assert '"Ж🚀"'.encode() in body


@pytest.mark.parametrize(
    "changes",
    [
        {"type": ""},
        {"type": "two words"},
        {"type": ".leading"},
        {"occurred_at": NOON.replace(tzinfo=None)},
        {"data": {"metric": float("nan")}},
        {"data": {"when": NOON}},
        {"data": {1j: 1}},
        {"data": {"text": "\ud800"}},
    ],
)
def test_an_event_that_cannot_be_sent_cannot_be_made(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        dataclasses.replace(PING, **changes)


def test_event_ids_are_random_and_have_no_dot() -> None:
    ids = {new_event_id() for _ in range(100)}

    assert len(ids) == 100
    assert all(one.startswith("msg_") and "." not in one for one in ids)
    assert {len(one) for one in ids} == {30}


def test_sortable_ids_sort_by_time() -> None:
    ids = [new_sortable_id("dlv", NOON + timedelta(milliseconds=n)) for n in range(50)]

    assert ids == sorted(ids)
    assert {len(one) for one in ids} == {len("dlv_") + 32}


@pytest.mark.parametrize(
    ("filters", "passes"),
    [
        (["*"], True),
        (["model_version.stage_changed"], True),
        (["model_version.*"], True),
        (["webhook.ping", "model_version.*"], True),
        (["model_version"], False),
        (["model.*"], False),
        (["registered_model.*"], False),
        (["model_version.stage_changed.*"], False),
        ([], False),
    ],
)
def test_event_types_pass_by_name_prefix_or_star(
    filters: Sequence[str], *, passes: bool
) -> None:
    assert matches_event_type(filters, "model_version.stage_changed") is passes


@pytest.mark.parametrize(
    ("pattern", "passes"),
    [(None, True), ("*", True), ("fraud", True), ("fr*", True), ("FRAUD", False)],
)
def test_subjects_pass_by_a_case_sensitive_glob(
    pattern: str | None, *, passes: bool
) -> None:
    assert matches_subject(pattern, "fraud") is passes


@pytest.mark.parametrize(
    ("pattern", "passes"),
    [(None, True), ("new", True), ("old", True), ("o*", True), ("other", False)],
)
def test_any_name_of_a_subject_may_match(pattern: str | None, *, passes: bool) -> None:
    assert matches_subject(pattern, "new", "old") is passes


@pytest.mark.parametrize(
    ("targets", "target", "passes"),
    [
        (None, None, True),
        (None, "Staging", True),
        (["Staging"], "Staging", True),
        (["Staging"], "Production", False),
        (["Staging"], None, False),
    ],
)
def test_targets_pass_when_listed(
    targets: Sequence[str] | None, target: str | None, *, passes: bool
) -> None:
    assert matches_target(targets, target) is passes


@pytest.mark.parametrize(
    ("filters", "passes"),
    [
        (["*"], False),
        (["webhook.*"], True),
        (["*", "webhook.failing"], True),
        (["webhook.disabled"], False),
    ],
)
def test_a_star_does_not_ask_for_events_about_the_delivery_itself(
    filters: Sequence[str], *, passes: bool
) -> None:
    assert matches_event_type(filters, "webhook.failing") is passes
