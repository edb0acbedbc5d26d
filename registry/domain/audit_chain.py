"""The audit log's hash chains: how an entry is sealed and how damage is found.

Rules:

- ``hash = SHA256(0x00 || prev_hash || canonical)``: the leaf prefix of RFC 6962
  §2.1, so that an entry can never pass for an inner node of a tree over it.
- ``canonical`` is RFC 8785 JSON, stored exactly as hashed; it names its own
  chain and number, so that an entry moved elsewhere contradicts itself.
- Numbers run from 1 without gap; the first entry's ``prev_hash`` is 32 zero
  bytes. The head (last number and hash) is kept apart, to show a cut tail.
- What not everybody may read is no part of ``canonical`` but a text of its own,
  ``private``, whose SHA-256 is: an entry without it is as verifiable as before. A
  salt keeps anybody from trying what an address could be.
- Columns beside the text only repeat it; where they do not, the entry is damaged.
- A chain has an entry at least: one that has none has lost them.
- Only a chain that is whole is compared with the tables (``audit_state``).
- No I/O: whoever reads a database or a file hands the entries over in order.

What no look at the log alone can find stands in ``LIMITS``.
"""

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, Protocol

import rfc8785

GENESIS_HASH = "0" * 64
#: The chain of what belongs to no model: tokens and webhooks.
SYSTEM_CHAIN = "system"
#: The member of an entry's text that seals its private part.
PRIVATE_HASH = "private_sha256"
LIMITS = (
    "Only a copy that was kept elsewhere can show whether a chain was rewritten from"
    " its first entry, or cut or removed together with its head: the hash of each head"
    " in an earlier export must stand in this log."
)


class DamageKind(StrEnum):
    """What was done to a chain."""

    EDITED = "edited"  #: the entry's text or hash was changed
    REMOVED = "removed"  #: an entry is missing
    INSERTED = "inserted"  #: a number stands there twice
    REORDERED = "reordered"  #: entries stand in another order
    TRUNCATED = "truncated"  #: entries are missing at the end
    MALFORMED = "malformed"  #: not an entry at all
    CONTRADICTED = "contradicted"  #: a table says something else than the log


@dataclass(frozen=True, kw_only=True)
class SealedEntry:
    """One entry as it is stored, or as somebody may see it.

    Attributes:
        prev_hash: 64 lower-case hex digits, and so ``hash``.
        columns: what is stored beside the text, by the dotted path that it repeats.
        private: what only some may read; None where there is nothing, or where
            ``is_withheld``.
        is_withheld: whether this is shown without its private part.
        is_redacted: whether members are missing in ``canonical``, so that ``hash`` is
            not of this text.
    """

    chain: str
    n: int
    prev_hash: str
    hash: str
    canonical: str
    columns: Mapping[str, object] = field(default_factory=dict)
    private: str | None = None
    is_withheld: bool = False
    is_redacted: bool = False

    @cached_property
    def text(self) -> Mapping[str, Any]:
        """The members of the sealed text; none when it cannot be read."""
        return members_of(self.canonical)


@dataclass(frozen=True, kw_only=True)
class Head:
    """The last entry of a chain, as recorded beside it."""

    chain: str
    n: int
    hash: str


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A chain as it was found, and what is recorded of its end.

    Attributes:
        entries: in stored order; may be read only once.
        head: None when there is none on record.
        may_be_empty: whether it can be that nothing has been written yet.
        comparison: with the tables that the entries tell of, where those can be seen.
    """

    name: str
    entries: Iterable[SealedEntry]
    head: Head | None
    may_be_empty: bool = False
    comparison: "Comparison | None" = None


class Comparison(Protocol):
    """Holds the tables against a chain."""

    def take(self, entry: SealedEntry) -> None:
        """Take the next entry, which is whole."""

    def differences(self) -> Iterable["Damage"]:
        """Return where the tables differ from what was taken."""


@dataclass(frozen=True, kw_only=True)
class Damage:
    """The first bad entry of a chain, or an entry that a table contradicts.

    ``chain`` is empty for a file's own damage.
    """

    chain: str
    n: int
    kind: DamageKind
    message: str

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return f"chain {self.chain}, entry {self.n}" if self.chain else f"line {self.n}"


@dataclass(frozen=True, kw_only=True)
class VerificationReport:
    """What a verification read and found.

    Attributes:
        redacted: entries whose links were verified but not their text, since members
            of it are not shown to everybody.
        is_sealed: whether an export says itself how much it holds; None for a
            database.
    """

    entries: int
    chains: int
    damage: tuple[Damage, ...]
    redacted: int = 0
    is_sealed: bool | None = None
    limits: str = LIMITS

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damage


def members_of(text: str) -> Mapping[str, Any]:
    """The members of a JSON object; none when the text is no object."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


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


def seal(
    chain: str,
    head: Head | None,
    entry: Mapping[str, object],
    *,
    private: Mapping[str, object] | None = None,
) -> SealedEntry:
    """Append ``entry`` after ``head``; adds ``chain`` and ``n`` to its text.

    ``private`` has a member that nobody can guess, if its others can be.
    """
    n = head.n + 1 if head else 1
    prev_hash = head.hash if head else GENESIS_HASH
    text = {**entry, "chain": chain, "n": n}
    sealed_apart = None if private is None else canonical_json(private)
    if sealed_apart is not None:
        text[PRIVATE_HASH] = private_hash(sealed_apart)
    canonical = canonical_json(text)
    return SealedEntry(
        chain=chain,
        n=n,
        prev_hash=prev_hash,
        hash=entry_hash(prev_hash, canonical),
        canonical=canonical,
        private=sealed_apart,
    )


def private_hash(private: str) -> str:
    """What an entry's text says of its private part."""
    return hashlib.sha256(private.encode("utf-8", "surrogatepass")).hexdigest()


def verify_chain(chain: Chain) -> Damage | None:
    """The first damage of one chain, or None; it is read entry by entry."""
    entries, count, prev_hash = iter(chain.entries), 0, GENESIS_HASH
    for entry in entries:
        count += 1
        if entry.n != count:
            return _number_damage(entry, count, entries)
        damage = _content_damage(entry)
        if damage:
            return damage
        if entry.prev_hash != prev_hash:
            return _link_damage(entry)
        if chain.comparison:
            chain.comparison.take(entry)
        prev_hash = entry.hash
    return _tail_damage(chain, count, prev_hash)


def _number_damage(
    entry: SealedEntry, expected: int, behind: Iterable[SealedEntry]
) -> Damage:
    """An entry has another number; those before it have theirs."""
    if 0 < entry.n < expected:
        kind, what = DamageKind.INSERTED, f"number {entry.n} stands there twice"
    elif any(other.n == expected for other in behind):
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
    except ValueError:
        return damage(DamageKind.EDITED, "its text or hash cannot be read")
    if sealed_as != entry.hash and not entry.is_redacted:
        return damage(
            DamageKind.EDITED, f"expected hash {sealed_as}, stored {entry.hash}"
        )
    text = entry.text
    place = (text.get("chain"), text.get("n"))
    if place != (entry.chain, entry.n):
        return damage(
            DamageKind.REORDERED, f"its text belongs to {place[0]} number {place[1]}"
        )
    for column, value in entry.columns.items():
        if member(text, column) != value:
            return damage(
                DamageKind.EDITED, f"column {column} contradicts the sealed text"
            )
    if not is_private_part_whole(entry, text):
        return damage(DamageKind.EDITED, "its private part contradicts the sealed text")
    return None


def is_private_part_whole(entry: SealedEntry, text: Mapping[str, Any]) -> bool:
    """Whether the private part is what was sealed; one that is withheld may be."""
    sealed_as = text.get(PRIVATE_HASH)
    if entry.private is None:
        return entry.is_withheld or sealed_as is None
    return private_hash(entry.private) == sealed_as


def member(text: object, path: str) -> object:
    """The member of a parsed entry that a dotted path names."""
    for key in path.split("."):
        text = text.get(key) if isinstance(text, dict) else None
    return text


def _link_damage(entry: SealedEntry) -> Damage:
    """The link between two entries that are each whole is broken.

    The earlier one was rewritten and sealed anew: its successor still holds the
    hash it had. The first entry has no predecessor, so there it is itself.
    """
    return Damage(
        chain=entry.chain,
        n=max(entry.n - 1, 1),
        kind=DamageKind.EDITED,
        message=f"number {entry.n} was sealed onto {entry.prev_hash}",
    )


def _tail_damage(chain: Chain, found: int, last_hash: str) -> Damage | None:
    head = chain.head
    if not found and (head is None or head.n < 1):
        if chain.may_be_empty:
            return None
        message = "all entries of this chain are missing"
        kind, n = DamageKind.TRUNCATED, 1
    elif head is None:
        message = "no head is on record for this chain"
        kind, n = DamageKind.REMOVED, found
    elif head.n > found:
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
    return Damage(chain=chain.name, n=n, kind=kind, message=message)


def verify_chains(chains: Iterable[Chain]) -> VerificationReport:
    """Verify chain after chain, each to its end; few entries are held at a time."""
    entries_read = chains_read = redacted = 0
    damage = []

    def counted(entries: Iterable[SealedEntry]) -> Iterator[SealedEntry]:
        nonlocal entries_read, redacted
        for entry in entries:
            entries_read += 1
            redacted += entry.is_redacted
            yield entry

    for chain in chains:
        chains_read += 1
        entries = counted(chain.entries)
        found = verify_chain(replace(chain, entries=entries))
        if found:
            damage.append(found)
        elif chain.comparison:
            damage.extend(chain.comparison.differences())
        deque(entries, maxlen=0)  # what is behind a damage is counted
    if not chains_read:
        damage.append(_nothing_there())
    return VerificationReport(
        entries=entries_read,
        chains=chains_read,
        damage=tuple(damage),
        redacted=redacted,
    )


def _nothing_there() -> Damage:
    return Damage(
        chain=SYSTEM_CHAIN,
        n=1,
        kind=DamageKind.TRUNCATED,
        message="there is no chain at all",
    )
