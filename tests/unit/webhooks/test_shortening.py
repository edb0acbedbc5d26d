"""Events that say more than a receiver takes."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks import formats
from webhooks.errors import OversizeError
from webhooks.events import Event, compact_json
from webhooks.formats.writing import MARK, SHORT, fit

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LIMIT = 65_535
#: What a deployment needs, some of it as long as it may be.
NEEDED: dict[str, Any] = {
    "model": "Betrug ü",
    "version": 7,
    "from_stage": "Staging",
    "to_stage": "Production",
    "cause": "promotion",
    "transition_id": "t" * 36,
    "source": "s3://models/" + "a/" * 994,
    "download_uri": "s3://models/" + "b/" * 994,
    "artifact_digest": "sha256:" + "0" * 64,
    "run_id": "r" * 1000,
    "links": {"version": "https://a/" + "%F0" * 1000, "deployments": "https://a/b"},
    "actor": {"kind": "token", "name": "ci"},
}
#: What users write, and how much of it.
LONG: dict[str, dict[str, Any]] = {
    "one tag": {"tags": {"note": "x" * 70_000}},
    "one tag in Cyrillic": {"tags": {"note": "ж" * 100_000}},
    "a tag of line feeds": {"tags": {"note": "\n" * 100_000}},
    "a tag of control characters": {"tags": {"note": "\x01" * 100_000}},
    "a tag of quotes": {"tags": {"note": '"\\' * 50_000}},
    "many tags": {"tags": {f"key-{n}": "v" * 100 for n in range(5000)}},
    "many small tags": {"tags": {f"k{n}": "" for n in range(20_000)}},
    "long keys": {"tags": {f"{n:04}" + "鍵" * 246: "v" for n in range(2000)}},
    "long numbers": {"scores": [10**100] * 5000},
    "all at once": {
        "tags": {"a": "🚀" * 100_000, "b": "short", "c": "x" * 100_000},
        "reason": "ж" * 20_000,
        "description": "x" * 20_000,
        "comment": "<" * 65_535,
        "key": "team",
        "value": "v" * 100_000,
        "differences": ["p" * 1024 for _ in range(500)],
    },
}


def event(**said: object) -> Event:
    return Event(
        "model_version.stage_changed",
        "k",
        "Betrug ü",
        "Production",
        {**NEEDED, **said},
        NOON,
    )


def of_json(body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(body.replace(b"\0", b""))
    return found


def of_form(body: bytes) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(body.decode()).items()}


def of_github(body: bytes) -> Any:  # noqa: ANN401
    payload = of_json(body)["client_payload"]
    assert len(compact_json(payload).encode()) <= LIMIT
    assert len(payload) <= 10
    return payload["data"]


def of_workflow(body: bytes) -> Any:  # noqa: ANN401
    inputs = of_json(body)["inputs"]
    assert len(compact_json(inputs).encode()) <= LIMIT
    return json.loads(inputs["event"])["data"]


def of_gitlab(body: bytes) -> Any:  # noqa: ANN401
    variables = of_form(body)
    assert max(len(value.encode()) for value in variables.values()) < 128 * 1024
    return json.loads(variables["variables[EVENT]"])["data"]


def of_jenkins(body: bytes) -> Any:  # noqa: ANN401
    assert len(body) < 128 * 1024
    return of_json(body)["data"]


def of_build(body: bytes) -> Any:  # noqa: ANN401
    assert len(body) <= 200_000
    return json.loads(of_form(body)["EVENT"])["data"]


def of_any(body: bytes) -> Any:  # noqa: ANN401
    assert len(body) <= 1024 * 1024
    found = of_json(body)
    return found.get("data", found)


@dataclass(frozen=True)
class Target:
    """A format, and how a receiver finds the event's data in what it is sent."""

    format: str
    options: dict[str, Any]
    data_of: Callable[[bytes], Any]


TARGETS = {
    "standard": Target("standard", {}, of_any),
    "cloudevents": Target("cloudevents", {}, of_any),
    "cloudevents, structured": Target("cloudevents", {"mode": "structured"}, of_any),
    "github": Target("github", {}, of_github),
    "github, workflow": Target(
        "github", {"dispatch": "workflow", "ref": "main"}, of_workflow
    ),
    "github, an event three times": Target(
        "github",
        {
            "dispatch": "workflow",
            "ref": "main",
            "inputs": {"event": "event", "tags": "data.tags", "again": "data"},
        },
        of_workflow,
    ),
    "gitlab": Target("gitlab", {"ref": "main"}, of_gitlab),
    "jenkins": Target("jenkins", {}, of_jenkins),
    "jenkins, build": Target("jenkins", {"trigger": "build", "user": "ci"}, of_build),
}


#: How a text is cut, how tags are left out, and both: asked of each format; the rest
#: of one.
OF_EACH = ("one tag in Cyrillic", "many small tags", "all at once")


PAIRS = [
    pytest.param(
        *(target, said),
        marks=() if target == "github" or said in OF_EACH else pytest.mark.long,
        id=f"{target}-{said}",
    )
    for target, said in product(TARGETS, LONG)
]


@pytest.mark.parametrize(("target", "said"), PAIRS)
def test_what_a_deployment_needs_is_sent_whole_whatever_users_write(
    target: str, said: str
) -> None:
    told, form = event(**LONG[said]), TARGETS[target]

    body = formats.render(form.format, "msg_a", told, form.options).body

    data = form.data_of(body)
    assert {name: data[name] for name in NEEDED} == NEEDED
    assert data.keys() == told.data.keys()


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_what_fits_is_sent_as_it_is_and_no_character_is_escaped(target: Target) -> None:
    told = event(reason="Прошёл проверку " * 600, tags={"a": "ж" * 1000})

    body = formats.render(target.format, "msg_a", told, target.options).body

    assert target.data_of(body) == told.data
    assert b"\\u" not in body


def test_a_text_that_is_shortened_is_marked_and_uses_the_room_there_is() -> None:
    told = event(reason="x" * 20_000, tags={"note": "ж" * 100_000, "team": "risk"})

    data = of_github(formats.render("github", "msg_a", told).body)

    assert data["reason"] == told.data["reason"]
    assert data["tags"]["team"] == "risk"
    note = data["tags"]["note"]
    assert note == "ж" * (len(note) - 1) + MARK
    used = len(compact_json({**data, "id": "msg_a"}).encode())
    assert LIMIT * 0.9 < used <= LIMIT


def test_tags_that_are_left_out_are_counted() -> None:
    told = event(tags={f"key-{n}": "v" * 100 for n in range(5000)})

    tags = of_github(formats.render("github", "msg_a", told).body)["tags"]

    left_out = tags.pop(MARK)
    assert left_out == f"{MARK} {5000 - len(tags)} more"
    assert 100 < len(tags) < 5000
    assert all(value.startswith("v" * 20) for value in tags.values())


def test_lists_that_are_cut_say_how_much_is_missing() -> None:
    told = event(differences=["p" * 1000 for _ in range(2000)])

    found = of_github(formats.render("github", "msg_a", told).body)["differences"]

    assert found[-1] == f"{MARK} {2000 - len(found) + 1} more"
    assert found[0].endswith(MARK)


def test_an_address_that_is_too_long_by_itself_is_not_sent_in_part() -> None:
    told = event(source="s3://" + "a" * 70_000)

    with pytest.raises(OversizeError, match="more than the 65535 that GitHub takes"):
        formats.render("github", "msg_a", told)


def test_many_that_are_short_are_not_sent_in_part() -> None:
    told = event(**{f"number_{n}": n for n in range(10_000)})

    with pytest.raises(OversizeError):
        formats.render("github", "msg_a", told)


TEXTS = st.text(max_size=300)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=20) | st.dictionaries(TEXTS, inner, max_size=20)
    ),
    max_leaves=40,
)


@given(st.dictionaries(TEXTS, VALUES, max_size=8), st.integers(500, 4000))
def test_whatever_the_data_the_limit_holds_or_it_is_said_so(
    data: dict[str, Any], maximum: int
) -> None:
    def make(told: Event) -> bytes:
        body = compact_json(told.data).encode()
        if len(body) > maximum:
            raise OversizeError(len(body), maximum, "nobody")
        return body

    told = Event("a.b", "k", "s", None, data, NOON)
    try:
        found = json.loads(fit(told, make))
    except OversizeError:
        assert len(compact_json(data).encode()) > maximum
    else:
        assert found.keys() == data.keys()
        for name, value in data.items():
            if len(compact_json(value).encode()) <= SHORT:
                assert found[name] == value
