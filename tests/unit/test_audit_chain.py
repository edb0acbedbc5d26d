"""The audit chain: whatever is done to it is found, with place and kind."""

import dataclasses
import json
import weakref
from collections.abc import Iterator, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain.audit_chain import (
    GENESIS_HASH,
    PRIVATE_HASH,
    Chain,
    Damage,
    DamageKind,
    Head,
    SealedEntry,
    canonical_json,
    entry_hash,
    seal,
    verify_chain,
    verify_chains,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
TEXTS = st.dictionaries(
    st.text().filter(lambda key: key not in {"chain", "n", PRIVATE_HASH}),
    VALUES,
    max_size=3,
)


def make_chain(
    texts: Sequence[Mapping[str, object]], chain: str = "model:a"
) -> tuple[list[SealedEntry], Head | None]:
    entries: list[SealedEntry] = []
    head = None
    for text in texts:
        entries.append(seal(chain, head, text))
        head = Head(chain=chain, n=entries[-1].n, hash=entries[-1].hash)
    return entries, head


FILLED = st.lists(TEXTS, min_size=1, max_size=3).map(make_chain)
#: Where what the entries say is not what matters: to think it up costs most of a test.
PLAIN = st.dictionaries(st.sampled_from("ab"), st.integers(0, 9))
LINKED = st.lists(PLAIN, min_size=1, max_size=6).map(make_chain)
LINKS = st.lists(PLAIN, min_size=2, max_size=6).map(make_chain)


def verified(entries: Sequence[SealedEntry], head: Head | None) -> Damage | None:
    return verify_chain(Chain(name="model:a", entries=entries, head=head))


def found_in(entries: Sequence[SealedEntry], head: Head | None) -> Damage:
    damage = verified(entries, head)
    assert damage is not None
    return damage


def place(damage: Damage) -> tuple[DamageKind, int]:
    return damage.kind, damage.n


@given(FILLED)
def test_clean_chain_is_never_damaged(
    chain: tuple[list[SealedEntry], Head | None],
) -> None:
    assert verified(*chain) is None


@pytest.mark.parametrize("n", [None, 0, -1])
def test_chain_that_has_lost_every_entry_is_damaged_whatever_its_head_says(
    n: int | None,
) -> None:
    head = None if n is None else Head(chain="model:a", n=n, hash=GENESIS_HASH)

    assert place(found_in([], head)) == (DamageKind.TRUNCATED, 1)


def test_chain_that_nothing_was_written_to_yet_is_whole() -> None:
    head = Head(chain="system", n=0, hash=GENESIS_HASH)
    fresh = Chain(name="system", entries=[], head=head, may_be_empty=True)
    expected = Head(chain="system", n=1, hash="a" * 64)

    assert verify_chain(fresh) is None
    assert verify_chain(dataclasses.replace(fresh, head=None)) is None
    assert verify_chain(dataclasses.replace(fresh, head=expected)) is not None


def test_log_without_any_chain_is_not_whole() -> None:
    assert not verify_chains([]).ok


def test_numbers_run_from_one_and_each_entry_is_sealed_onto_the_one_before() -> None:
    (first, second), head = make_chain([{"a": 1}, {"a": 2}])

    assert (first.n, second.n) == (1, 2)
    assert first.prev_hash == GENESIS_HASH
    assert second.prev_hash == first.hash
    assert json.loads(second.canonical) == {"a": 2, "chain": "model:a", "n": 2}
    assert head == Head(chain="model:a", n=2, hash=second.hash)


def test_hash_is_the_one_that_anybody_can_compute() -> None:
    # (head -c 33 /dev/zero; printf '{}') | sha256sum
    expected = "df2fad6a42533aaab95db7d32ba62a1222257cd5908f1f5eb7ce850d55dc0709"

    assert entry_hash(GENESIS_HASH, "{}") == expected


@pytest.mark.parametrize("value", [float("nan"), 2**53, float("inf")])
def test_value_that_canonical_json_cannot_carry_is_an_error(value: float) -> None:
    with pytest.raises(ValueError, match=r".+"):
        canonical_json({"a": value})


@given(LINKED, st.data())
def test_edited_text_is_found_where_it_stands(
    chain: tuple[list[SealedEntry], Head | None], data: st.DataObject
) -> None:
    entries, head = chain
    at = data.draw(st.integers(0, len(entries) - 1))
    text = data.draw(st.text().filter(lambda new: new != entries[at].canonical))
    entries[at] = dataclasses.replace(entries[at], canonical=text)

    assert place(found_in(entries, head)) == (DamageKind.EDITED, at + 1)


@given(LINKED, st.data())
def test_entry_that_was_rewritten_and_sealed_anew_is_found(
    chain: tuple[list[SealedEntry], Head | None], data: st.DataObject
) -> None:
    entries, head = chain
    at = data.draw(st.integers(0, len(entries) - 1))
    old = entries[at]
    canonical = canonical_json({"forged": True, "chain": old.chain, "n": old.n})
    forged = entry_hash(old.prev_hash, canonical)
    entries[at] = dataclasses.replace(old, canonical=canonical, hash=forged)

    assert place(found_in(entries, head)) == (DamageKind.EDITED, at + 1)


@given(LINKED, st.data())
def test_changed_hash_is_found(
    chain: tuple[list[SealedEntry], Head | None], data: st.DataObject
) -> None:
    entries, head = chain
    at = data.draw(st.integers(0, len(entries) - 1))
    member = data.draw(st.sampled_from(["hash", "prev_hash"]))
    changed = data.draw(st.sampled_from(["f" * 64, "", "not hex", "0" * 63]))
    entries[at] = dataclasses.replace(
        entries[at],
        **{member: changed},  # type: ignore[arg-type]  # one member by its name
    )

    assert place(found_in(entries, head)) == (DamageKind.EDITED, at + 1)


@given(LINKS, st.data())
def test_removed_entry_is_found_where_it_is_missing(
    chain: tuple[list[SealedEntry], Head | None], data: st.DataObject
) -> None:
    entries, head = chain
    at = data.draw(st.integers(0, len(entries) - 2))
    del entries[at]

    assert place(found_in(entries, head)) == (DamageKind.REMOVED, at + 1)


@given(LINKED, st.data())
def test_cut_tail_is_found_against_the_head(
    chain: tuple[list[SealedEntry], Head | None], data: st.DataObject
) -> None:
    entries, head = chain
    kept = data.draw(st.integers(0, len(entries) - 1))

    damage = found_in(entries[:kept], head)

    assert place(damage) == (DamageKind.TRUNCATED, kept + 1)


@given(LINKS, st.data())
def test_reordered_entries_are_found_at_the_first_that_is_out_of_place(
    chain: tuple[list[SealedEntry], Head | None], data: st.DataObject
) -> None:
    entries, head = chain
    shuffled = data.draw(
        st.permutations(entries).filter(lambda order: list(order) != entries)
    )
    first = next(n for n, e in enumerate(shuffled, start=1) if e.n != n)

    assert place(found_in(shuffled, head)) == (DamageKind.REORDERED, first)


@given(LINKED, st.data())
def test_inserted_entry_is_found_by_its_number_standing_twice(
    chain: tuple[list[SealedEntry], Head | None], data: st.DataObject
) -> None:
    entries, head = chain
    at = data.draw(st.integers(0, len(entries) - 1))
    before = entries[at - 1] if at else None
    behind = Head(chain="model:a", n=before.n, hash=before.hash) if before else None
    forged = seal("model:a", behind, {"forged": True})

    damage = found_in([*entries[:at], forged, *entries[at:]], head)

    assert place(damage) == (DamageKind.INSERTED, at + 1)


@given(LINKED)
def test_entry_appended_behind_the_head_is_found(
    chain: tuple[list[SealedEntry], Head | None],
) -> None:
    entries, head = chain
    forged = seal("model:a", head, {"forged": True})

    damage = found_in([*entries, forged], head)

    assert place(damage) == (DamageKind.INSERTED, len(entries) + 1)


@given(LINKED)
def test_entry_moved_from_another_chain_contradicts_itself(
    chain: tuple[list[SealedEntry], Head | None],
) -> None:
    entries, head = chain
    other, _ = make_chain([{"a": n} for n in range(len(entries))], chain="model:b")
    entries[-1] = dataclasses.replace(other[-1], chain="model:a")

    damage = found_in(entries, head)

    assert place(damage) == (DamageKind.REORDERED, len(entries))
    assert "model:b" in damage.message


def test_chain_whose_head_is_not_on_record_is_damaged() -> None:
    entries, _ = make_chain([{"a": 1}, {"a": 2}])

    assert place(found_in(entries, None)) == (DamageKind.REMOVED, 2)


@pytest.mark.parametrize(
    ("columns", "is_damaged"),
    [
        ({"model": "fraud", "actor.name": "alice"}, False),
        ({"model": "other"}, True),
        ({"actor.name": "mallory"}, True),
        ({"model.name": "fraud"}, True),
        ({"absent": None}, False),
    ],
)
def test_column_beside_the_text_must_repeat_it(
    columns: dict[str, object], *, is_damaged: bool
) -> None:
    text = {"model": "fraud", "actor": {"name": "alice"}}
    (entry,), head = make_chain([text])

    damage = verified([dataclasses.replace(entry, columns=columns)], head)

    assert (damage is not None) is is_damaged
    assert damage is None or damage.kind is DamageKind.EDITED


@pytest.mark.parametrize("canonical", ["[]", "7", "[" * 100_000, '{"n": 1}'])
def test_sealed_text_that_is_no_entry_is_damage_and_no_failure(canonical: str) -> None:
    sealed = entry_hash(GENESIS_HASH, canonical)
    entry = SealedEntry(
        chain="c", n=1, prev_hash=GENESIS_HASH, hash=sealed, canonical=canonical
    )

    assert found_in([entry], Head(chain="c", n=1, hash=sealed)).n == 1


def test_first_entry_that_does_not_begin_the_chain_is_found() -> None:
    canonical = canonical_json({"chain": "c", "n": 1})
    sealed = entry_hash("a" * 64, canonical)
    entry = SealedEntry(
        chain="c", n=1, prev_hash="a" * 64, hash=sealed, canonical=canonical
    )

    damage = found_in([entry], Head(chain="c", n=1, hash=sealed))

    assert place(damage) == (DamageKind.EDITED, 1)


def test_report_counts_what_was_read_and_lists_each_damaged_chain() -> None:
    whole, last = make_chain([{"a": 1}], chain="a")
    cut, head = make_chain([{"a": 1}, {"a": 2}], chain="b")

    report = verify_chains(
        [
            Chain(name="a", entries=whole, head=last),
            Chain(name="b", entries=cut[:1], head=head),
        ]
    )

    assert (report.entries, report.chains, report.ok) == (2, 2, False)
    assert [(damage.chain, damage.n) for damage in report.damage] == [("b", 2)]


PRIVATE = {"source_ip": "192.0.2.7", "salt": "00"}


def make_private() -> tuple[SealedEntry, Head]:
    entry = seal("model:a", None, {"a": 1}, private=PRIVATE)
    return entry, Head(chain="model:a", n=1, hash=entry.hash)


def test_private_part_is_sealed_and_not_told() -> None:
    entry, head = make_private()

    assert "192.0.2.7" not in entry.canonical
    assert json.loads(entry.private or "") == PRIVATE
    assert verified([entry], head) is None
    withheld = dataclasses.replace(entry, private=None, is_withheld=True)
    assert verified([withheld], head) is None


@pytest.mark.parametrize("private", [None, "", '{"salt":"00"}', "\ud800"])
def test_private_part_that_is_not_what_was_sealed_is_found(private: str | None) -> None:
    entry, head = make_private()

    damage = found_in([dataclasses.replace(entry, private=private)], head)

    assert place(damage) == (DamageKind.EDITED, 1)


def test_private_part_that_was_never_sealed_is_found() -> None:
    (entry,), head = make_chain([{"a": 1}])

    damage = found_in([dataclasses.replace(entry, private="{}")], head)

    assert place(damage) == (DamageKind.EDITED, 1)


def test_redacted_entry_is_held_to_its_place_and_links_and_counted() -> None:
    entries, head = make_chain([{"a": 1}, {"a": 2}])
    shown = [
        dataclasses.replace(
            entry,
            canonical=canonical_json({"chain": "model:a", "n": entry.n}),
            is_redacted=True,
        )
        for entry in entries
    ]
    moved = dataclasses.replace(shown[1], canonical=shown[0].canonical)

    report = verify_chains([Chain(name="model:a", entries=shown, head=head)])

    assert (report.ok, report.redacted) == (True, 2)
    assert place(found_in([shown[0], moved], head)) == (DamageKind.REORDERED, 2)
    unlinked = dataclasses.replace(shown[1], prev_hash="a" * 64)
    assert place(found_in([shown[0], unlinked], head)) == (DamageKind.EDITED, 1)


def test_chain_of_any_length_is_verified_entry_by_entry() -> None:
    entries, head = make_chain([{}] * 50)
    read: list[weakref.ref[SealedEntry]] = []
    held: list[int] = []

    def reading() -> Iterator[SealedEntry]:
        for entry in entries:
            shown = dataclasses.replace(entry)
            read.append(weakref.ref(shown))
            held.append(sum(one() is not None for one in read))
            yield shown

    report = verify_chains([Chain(name="model:a", entries=reading(), head=head)])

    assert (report.ok, report.entries) == (True, 50)
    assert max(held) <= 3
