"""The audit log's hash chains: how an entry is sealed and how damage is found.

Rules (security reference, section 1):

- ``hash = SHA256(0x00 || prev_hash || canonical)``: the leaf prefix of RFC 6962
  §2.1, so that an entry can never pass for an inner node of a tree over it.
- ``canonical`` is RFC 8785 JSON, stored exactly as hashed; it names its own
  chain and number, so that an entry moved elsewhere contradicts itself.
- Numbers run from 1 without gap; the first entry's ``prev_hash`` is 32 zero
  bytes. The head (last number and hash) is kept apart, to show a cut tail.
- No I/O: whoever reads a database or a file hands the entries over in order.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import rfc8785

GENESIS_HASH = "0" * 64
EXPORT_FORMAT = "stagegate-audit-export/1"

# What a line raises that is no JSON, or has not the shape of a line.
_UNREADABLE = (ValueError, KeyError, TypeError, OverflowError, RecursionError)


class DamageKind(StrEnum):
    """What was done to a chain."""

    EDITED = "edited"  #: the entry's text or hash was changed
    REMOVED = "removed"  #: an entry is missing
    INSERTED = "inserted"  #: a number stands there twice
    REORDERED = "reordered"  #: entries stand in another order
    TRUNCATED = "truncated"  #: entries are missing at the end
    MALFORMED = "malformed"  #: not an entry at all


@dataclass(frozen=True, kw_only=True)
class SealedEntry:
    """One entry as it is stored. Hashes are 64 lower-case hex digits."""

    chain: str
    n: int
    prev_hash: str
    hash: str
    canonical: str
    columns: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Head:
    """The last entry of a chain, as recorded beside it."""

    chain: str
    n: int
    hash: str


@dataclass(frozen=True, kw_only=True)
class Damage:
    """The first bad entry of a chain."""

    chain: str
    n: int
    kind: DamageKind
    message: str


@dataclass(frozen=True, kw_only=True)
class VerificationReport:
    """What a verification read and found."""

    entries: int
    chains: int
    damage: tuple[Damage, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damage


def canonical_json(entry: Mapping[str, object]) -> str:
    """The entry as RFC 8785 JSON.

    Raises:
        ValueError: for what RFC 8785 cannot carry (NaN, integers of 2^53 or
            more); such values are to be given as text.
    """
    # The library types its argument as a closed recursive alias that a
    # Mapping[str, object] cannot be shown to fit.
    document: Any = entry
    return rfc8785.dumps(document).decode("utf-8")


def entry_hash(prev_hash: str, canonical: str) -> str:
    """The hash that seals an entry to the one before it."""
    leaf = b"\x00" + bytes.fromhex(prev_hash) + canonical.encode("utf-8")
    return hashlib.sha256(leaf).hexdigest()


def seal(chain: str, head: Head | None, entry: Mapping[str, object]) -> SealedEntry:
    """Append ``entry`` after ``head``; adds ``chain`` and ``n`` to its text."""
    n = head.n + 1 if head else 1
    prev_hash = head.hash if head else GENESIS_HASH
    canonical = canonical_json({**entry, "chain": chain, "n": n})
    return SealedEntry(
        chain=chain,
        n=n,
        prev_hash=prev_hash,
        hash=entry_hash(prev_hash, canonical),
        canonical=canonical,
    )


def verify_chain(entries: Sequence[SealedEntry], head: Head | None) -> Damage | None:
    """The first damage of one chain, or None.

    Args:
        entries: all entries of the chain, in stored order.
        head: the recorded head; None when there is none on record.
    """
    prev_hash = GENESIS_HASH
    for position, entry in enumerate(entries, start=1):
        damage = _number_damage(entries, position) or _content_damage(entry)
        if damage:
            return damage
        if entry.prev_hash != prev_hash:
            return _link_damage(entries, position)
        prev_hash = entry.hash
    return _tail_damage(entries, head)


def _number_damage(entries: Sequence[SealedEntry], expected: int) -> Damage | None:
    entry = entries[expected - 1]
    if entry.n == expected:
        return None
    if any(other.n == entry.n for other in entries[: expected - 1]):
        kind, what = DamageKind.INSERTED, f"number {entry.n} stands there twice"
    elif any(other.n == expected for other in entries[expected:]):
        kind, what = DamageKind.REORDERED, f"number {entry.n} stands in its place"
    else:
        kind, what = DamageKind.REMOVED, f"number {entry.n} follows {expected - 1}"
    first_bad = entry.n if kind is DamageKind.INSERTED else expected
    return Damage(chain=entry.chain, n=first_bad, kind=kind, message=what)


def _content_damage(entry: SealedEntry) -> Damage | None:
    def damage(kind: DamageKind, message: str) -> Damage:
        return Damage(chain=entry.chain, n=entry.n, kind=kind, message=message)

    try:
        sealed_as = entry_hash(entry.prev_hash, entry.canonical)
        text = json.loads(entry.canonical)
    except (ValueError, RecursionError):
        return damage(DamageKind.EDITED, "its text or hash cannot be read")
    if sealed_as != entry.hash:
        return damage(
            DamageKind.EDITED, f"expected hash {sealed_as}, stored {entry.hash}"
        )
    place = (_member(text, "chain"), _member(text, "n"))
    if place != (entry.chain, entry.n):
        return damage(
            DamageKind.REORDERED, f"its text belongs to {place[0]} number {place[1]}"
        )
    for column, value in entry.columns.items():
        if _member(text, column) != value:
            return damage(
                DamageKind.EDITED, f"column {column} contradicts the sealed text"
            )
    return None


def _member(text: object, path: str) -> object:
    """The member of a parsed entry that a dotted path names."""
    for key in path.split("."):
        text = text.get(key) if isinstance(text, dict) else None
    return text


def _link_damage(entries: Sequence[SealedEntry], position: int) -> Damage:
    """The link between two entries that are each whole is broken.

    The earlier one was rewritten and sealed anew: its successor still holds the
    hash it had. The first entry has no predecessor, so there it is itself.
    """
    entry = entries[position - 1]
    return Damage(
        chain=entry.chain,
        n=max(position - 1, 1),
        kind=DamageKind.EDITED,
        message=f"number {entry.n} was sealed onto {entry.prev_hash}",
    )


def _tail_damage(entries: Sequence[SealedEntry], head: Head | None) -> Damage | None:
    if head is None:
        if not entries:
            return None
        last = entries[-1]
        message = "no head is on record for this chain"
        return Damage(
            chain=last.chain, n=last.n, kind=DamageKind.REMOVED, message=message
        )
    found = len(entries)
    last_hash = entries[-1].hash if entries else GENESIS_HASH
    if head.n > found:
        message = f"the chain's head is number {head.n}, the last entry {found}"
        kind, n = DamageKind.TRUNCATED, found + 1
    elif head.n < found:
        message = f"the chain's head is number {head.n}"
        kind, n = DamageKind.INSERTED, head.n + 1
    elif head.hash != last_hash:
        message = f"the chain's head is {head.hash}, the last entry {last_hash}"
        kind, n = DamageKind.EDITED, found
    else:
        return None
    return Damage(chain=head.chain, n=n, kind=kind, message=message)


def verify_chains(
    chains: Iterable[tuple[Sequence[SealedEntry], Head | None]],
) -> VerificationReport:
    """Verify chain after chain; only one is held in memory at a time."""
    entries_read = chains_read = 0
    damage = []
    for entries, head in chains:
        entries_read += len(entries)
        chains_read += 1
        found = verify_chain(entries, head)
        if found:
            damage.append(found)
    return VerificationReport(
        entries=entries_read, chains=chains_read, damage=tuple(damage)
    )


def export_lines(
    chains: Iterable[tuple[Iterable[SealedEntry], Head | None]],
) -> Iterator[str]:
    """The chains as JSON lines: a format line, entries, and a head per chain."""
    yield json.dumps({"format": EXPORT_FORMAT})
    for entries, head in chains:
        for entry in entries:
            yield json.dumps(
                {
                    "chain": entry.chain,
                    "n": entry.n,
                    "prev_hash": entry.prev_hash,
                    "hash": entry.hash,
                    "entry": entry.canonical,
                }
            )
        if head:
            yield json.dumps(
                {"head": {"chain": head.chain, "n": head.n, "hash": head.hash}}
            )


def verify_export(lines: Iterable[str]) -> VerificationReport:
    """Verify an export without a database.

    A line that is no entry is damage of its own, not an error: a cut or edited
    file must be named as such.
    """
    entries: dict[str, list[SealedEntry]] = {}
    heads: dict[str, Head] = {}
    malformed: list[Damage] = []
    number = 0
    for number, line in enumerate(lines, start=1):
        try:
            _read_line(json.loads(line), number, entries, heads)
        except _UNREADABLE:
            malformed.append(_malformed(number))
    if number == 0:
        malformed.append(_malformed(1))
    report = verify_chains(
        (entries.get(chain, []), heads.get(chain))
        for chain in sorted(entries.keys() | heads.keys())
    )
    return VerificationReport(
        entries=report.entries,
        chains=report.chains,
        damage=(*malformed, *report.damage),
    )


def _malformed(line: int) -> Damage:
    return Damage(
        chain="",
        n=line,
        kind=DamageKind.MALFORMED,
        message=f"line {line} is not a line of an audit export",
    )


def _read_line(
    document: Mapping[str, Any],
    number: int,
    entries: dict[str, list[SealedEntry]],
    heads: dict[str, Head],
) -> None:
    if number == 1:
        if document["format"] != EXPORT_FORMAT:
            raise ValueError("not this format")
        return
    if "head" in document:
        head = document["head"]
        heads[str(head["chain"])] = Head(
            chain=str(head["chain"]), n=int(head["n"]), hash=str(head["hash"])
        )
        return
    entry = SealedEntry(
        chain=str(document["chain"]),
        n=int(document["n"]),
        prev_hash=str(document["prev_hash"]),
        hash=str(document["hash"]),
        canonical=str(document["entry"]),
    )
    entries.setdefault(entry.chain, []).append(entry)
