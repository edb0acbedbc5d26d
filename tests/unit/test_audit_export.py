"""An export of the audit log is verified with nothing but its own lines."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain.audit_chain import DamageKind, export_lines, verify_export
from tests.unit.test_audit_chain import TEXTS, make_chain


def make_export() -> list[str]:
    """Two chains: lines 2 to 4 are model:a, 5 its head, 6 and 7 model:b."""
    return list(
        export_lines(
            [
                make_chain([{"at": n} for n in range(3)], chain="model:a"),
                make_chain([{"at": 0}], chain="model:b"),
            ]
        )
    )


def edited(line: str, **members: object) -> str:
    return json.dumps({**json.loads(line), **members})


@given(st.lists(st.lists(TEXTS, max_size=4), max_size=3))
def test_export_of_clean_chains_verifies(texts: list[list[dict[str, object]]]) -> None:
    chains = [make_chain(each, chain=f"c{n}") for n, each in enumerate(texts)]

    report = verify_export(export_lines(chains))

    assert report.ok
    assert report.entries == sum(len(each) for each in texts)
    assert report.chains == sum(bool(each) for each in texts)


def cut_tail(lines: list[str]) -> list[str]:
    return [*lines[:3], *lines[4:]]


def swap(lines: list[str]) -> list[str]:
    return [lines[0], lines[2], lines[1], *lines[3:]]


def repeat(lines: list[str]) -> list[str]:
    return [*lines[:3], lines[2], *lines[3:]]


TAMPERING: dict[str, tuple[Callable[[list[str]], list[str]], DamageKind, int]] = {
    "an edited entry": (
        lambda ls: [*ls[:2], ls[2].replace('\\"at\\":1', '\\"at\\":9'), *ls[3:]],
        DamageKind.EDITED,
        2,
    ),
    "an edited number": (
        lambda ls: [*ls[:3], edited(ls[3], n=7), *ls[4:]],
        DamageKind.REMOVED,
        3,
    ),
    "an edited head": (
        lambda ls: [
            *ls[:4],
            json.dumps({"head": {"chain": "model:a", "n": 3, "hash": "0" * 64}}),
            *ls[5:],
        ],
        DamageKind.EDITED,
        3,
    ),
    "a removed entry": (lambda ls: [*ls[:2], *ls[3:]], DamageKind.REMOVED, 2),
    "a cut tail": (cut_tail, DamageKind.TRUNCATED, 3),
    "a removed head": (lambda ls: [*ls[:4], *ls[5:]], DamageKind.REMOVED, 3),
    "two entries swapped": (swap, DamageKind.REORDERED, 1),
    "an entry twice": (repeat, DamageKind.INSERTED, 2),
}


@pytest.mark.parametrize(("tamper", "kind", "n"), TAMPERING.values(), ids=TAMPERING)
def test_tampered_export_is_found_with_place_and_kind(
    tamper: Callable[[list[str]], list[str]], kind: DamageKind, n: int
) -> None:
    report = verify_export(tamper(make_export()))

    assert [(d.chain, d.kind, d.n) for d in report.damage] == [("model:a", kind, n)]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "7",
        "null",
        '"head"',
        "[]",
        "{}",
        '{"head": 3}',
        '{"head": {"chain": "a", "n": "x", "hash": ""}}',
        '{"chain": "a", "n": Infinity, "prev_hash": "", "hash": "", "entry": ""}',
        '{"chain": "a", "n": null, "prev_hash": "", "hash": "", "entry": ""}',
        "[" * 100_000,
        "9" * 10_000,
    ],
)
def test_line_that_is_no_entry_is_named_as_malformed(line: str) -> None:
    lines = make_export()

    report = verify_export([*lines, line])

    (damage,) = report.damage
    assert (damage.kind, damage.n) == (DamageKind.MALFORMED, len(lines) + 1)


@pytest.mark.parametrize("first", ["{}", '{"format": "something-else/9"}', "[]"])
def test_file_of_another_format_is_named_as_such(first: str) -> None:
    report = verify_export([first, *make_export()[1:]])

    (damage,) = report.damage
    assert (damage.kind, damage.n) == (DamageKind.MALFORMED, 1)


def test_empty_file_is_no_intact_export() -> None:
    report = verify_export([])

    assert [damage.kind for damage in report.damage] == [DamageKind.MALFORMED]


@given(st.lists(st.text()))
def test_no_file_makes_the_verification_fail(lines: list[str]) -> None:
    assert not verify_export(lines).ok
