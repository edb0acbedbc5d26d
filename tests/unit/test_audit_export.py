"""An export of the audit log is verified with nothing but its own lines."""

import dataclasses
import json
from collections.abc import Callable
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain.audit_chain import Chain, DamageKind, Head, VerificationReport
from registry.domain.audit_export import FORMER_FORMAT, export_lines, verify_export
from tests.unit.test_audit_chain import TEXTS, make_chain


def chain_of(texts: list[dict[str, object]], name: str) -> Chain:
    entries, head = make_chain(texts, chain=name)
    return Chain(name=name, entries=entries, head=head)


def exported(*chains: Chain) -> list[str]:
    return list(export_lines(chains, with_private=True))


def make_export() -> list[str]:
    """Lines 2 to 4 are model:a, 5 its head, 6 and 7 system, 8 the seal."""
    return exported(
        chain_of([{"at": n} for n in range(3)], "model:a"),
        chain_of([{"at": 0}], "system"),
    )


def former_export() -> list[str]:
    """The same as the former release wrote it: no columns, no seal."""
    lines = [json.loads(line) for line in make_export()[1:-1]]
    for line in lines:
        line.pop("columns", None)
    return [json.dumps({"format": FORMER_FORMAT}), *map(json.dumps, lines)]


def sealed_anew(lines: list[str]) -> list[str]:
    """The lines under a seal that fits them, as anybody can make it."""
    body = lines[:-1]
    documents = [json.loads(line) for line in body]
    names = {d.get("chain") or d["head"]["chain"] for d in documents[1:]}
    seal = {
        "chains": len(names),
        "entries": sum("entry" in d for d in documents),
        "sha256": sha256("".join(f"{line}\n" for line in body).encode()).hexdigest(),
    }
    return [*body, json.dumps({"seal": seal})]


def places(report: VerificationReport) -> list[tuple[str, DamageKind, int]]:
    return [(damage.chain, damage.kind, damage.n) for damage in report.damage]


def edited(line: str, **members: object) -> str:
    return json.dumps({**json.loads(line), **members})


@given(st.lists(st.lists(TEXTS, min_size=1, max_size=2), max_size=2))
def test_export_of_clean_chains_verifies(texts: list[list[dict[str, object]]]) -> None:
    chains = [chain_of(each, f"c{n}") for n, each in enumerate(texts)]
    chains.append(chain_of([{}], "system"))

    report = verify_export(exported(*chains))

    assert report.ok
    assert report.is_sealed
    assert report.entries == sum(len(each) for each in texts) + 1
    assert report.chains == len(chains)
    assert report.limits


def test_seal_counts_what_stands_before_it_however_lines_end() -> None:
    lines = make_export()

    assert lines == sealed_anew(lines)
    assert verify_export([f"{line}\r\n" for line in lines]).ok


def test_export_of_the_former_release_is_verified_and_said_to_have_no_seal() -> None:
    lines = former_export()

    report = verify_export(lines)
    forged = verify_export(
        [*lines[:2], lines[2].replace('at\\":1', 'at\\":9'), *lines[3:]]
    )

    assert (report.ok, report.is_sealed, report.entries) == (True, False, 4)
    assert not forged.ok


@pytest.mark.parametrize("kept", range(8))
def test_export_that_was_cut_off_anywhere_is_found(kept: int) -> None:
    report = verify_export(make_export()[:kept])

    assert not report.ok
    assert report.is_sealed is False


def test_former_export_cut_to_its_first_line_holds_no_log() -> None:
    report = verify_export(former_export()[:1])

    assert places(report) == [("system", DamageKind.TRUNCATED, 1)]


def test_export_without_one_chain_is_found_by_its_seal() -> None:
    lines = make_export()

    report = verify_export([lines[0], *lines[5:]])

    (damage,) = report.damage
    assert (damage.chain, damage.kind, damage.n) == ("", DamageKind.EDITED, 4)
    assert "its seal is of 2 chains and 4 entries, 1 and 1 are there" in damage.message


@pytest.mark.parametrize("is_former", [False, True])
def test_export_without_the_chain_system_is_found_even_sealed_anew(
    *, is_former: bool
) -> None:
    lines = former_export()[:5] if is_former else make_export()
    kept = lines if is_former else sealed_anew([*lines[:5], lines[-1]])

    report = verify_export(kept)

    assert places(report) == [("system", DamageKind.TRUNCATED, 1)]


@pytest.mark.parametrize("is_former", [False, True])
def test_second_head_of_a_chain_is_found(*, is_former: bool) -> None:
    lines = former_export() if is_former else make_export()
    twice = [*lines[:5], lines[4], *lines[5:]]
    if not is_former:
        twice = sealed_anew(twice)

    report = verify_export(twice)

    (damage,) = report.damage
    assert (damage.kind, damage.n) == (DamageKind.INSERTED, 6)
    assert damage.message == "line 6 is a second head of model:a"


def test_seal_that_is_of_other_lines_is_found() -> None:
    lines = make_export()
    blank = lines[1].replace('{"chain"', '{ "chain"')

    report = verify_export([lines[0], blank, *lines[2:]])

    assert places(report) == [("", DamageKind.EDITED, 8)]


def test_nothing_may_follow_the_seal() -> None:
    lines = make_export()

    for more in (lines[1], lines[4], lines[-1]):
        assert places(verify_export([*lines, more])) == [("", DamageKind.MALFORMED, 9)]


def test_column_that_contradicts_the_text_is_found_in_an_export() -> None:
    entries, head = make_chain([{"model": "fraud"}])
    columns: dict[str, object] = {"model": "other"}
    lost = [dataclasses.replace(entry, columns=columns) for entry in entries]
    lines = exported(
        Chain(name="model:a", entries=lost, head=head), chain_of([{}], "system")
    )

    assert places(verify_export(lines)) == [("model:a", DamageKind.EDITED, 1)]


def test_chain_that_has_lost_its_head_is_found_in_an_export() -> None:
    entries, _ = make_chain([{}, {}])
    lines = exported(
        Chain(name="model:a", entries=entries, head=None), chain_of([{}], "system")
    )

    assert places(verify_export(lines)) == [("model:a", DamageKind.REMOVED, 2)]


@pytest.mark.parametrize("n", [None, 0, 1])
def test_chain_that_has_lost_its_entries_is_found_in_an_export(n: int | None) -> None:
    head = None if n is None else Head(chain="model:a", n=n, hash="0" * 64)
    lines = exported(
        Chain(name="model:a", entries=[], head=head), chain_of([{}], "system")
    )

    assert places(verify_export(lines)) == [("model:a", DamageKind.TRUNCATED, 1)]


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

    assert ("model:a", kind, n) in places(report)
    assert {damage.chain for damage in report.damage} <= {"model:a", ""}


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
        '{"chain": "a", "n": 1, "prev_hash": "", "hash": "", "entry": ""}',
        '{"seal": 3}',
        "[" * 100_000,
        "9" * 10_000,
    ],
)
def test_line_that_is_no_entry_is_named_as_malformed(line: str) -> None:
    lines = make_export()

    report = verify_export([*lines[:-1], line, lines[-1]])

    (damage,) = report.damage
    assert (damage.kind, damage.n) == (DamageKind.MALFORMED, len(lines))


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
