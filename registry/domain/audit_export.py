"""An export of the audit log: its lines, and what is found in them offline.

Rules:

- Line by line JSON: what format it is, then chain after chain its entries and its
  head, then a seal over the number of chains and entries and over all lines before.
- The seal shows what was cut off or left out, by accident or by who did not seal
  anew. It is no signature: ``LIMITS`` holds for an export as well.
- An entry comes with the columns that are stored beside its text, as they are
  stored, so that whoever verifies need not believe the server.
- The former format has neither columns nor seal. It is verified as far as it goes.
- Every export has the chain ``system``, since it takes a token to make one, but that
  of somebody who may not read every model: it says so (``partial``), and so does what
  verifies it.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from registry.domain.audit_chain import (
    GENESIS_HASH,
    LIMITS,
    SYSTEM_CHAIN,
    Chain,
    Damage,
    DamageKind,
    Head,
    SealedEntry,
    VerificationReport,
    verify_chains,
)

EXPORT_FORMAT = "stagegate-audit-export/2"
FORMER_FORMAT = "stagegate-audit-export/1"
PARTIAL = "This export is of some models: who made it may not read the others. "

# What a line raises that is no JSON, or has not the shape of a line.
_UNREADABLE = (ValueError, KeyError, TypeError, OverflowError, RecursionError)


def export_lines(
    chains: Iterable[Chain], *, with_private: bool, is_partial: bool = False
) -> Iterator[str]:
    """The chains as JSON lines.

    Args:
        chains: what is exported.
        with_private: whether the entries have their private parts.
        is_partial: whether they are but the chains that somebody may read.
    """
    digest = hashlib.sha256()
    counts = {"chains": 0, "entries": 0}
    format_line = {
        "format": EXPORT_FORMAT,
        "private": with_private,
        **({"partial": True} if is_partial else {}),
    }
    for line in _unsealed_lines(chains, counts, format_line):
        digest.update(_sealed_bytes(line))
        yield line
    yield json.dumps({"seal": {**counts, "sha256": digest.hexdigest()}})


def _unsealed_lines(
    chains: Iterable[Chain], counts: dict[str, int], format_line: Mapping[str, object]
) -> Iterator[str]:
    yield json.dumps(format_line)
    for chain in chains:
        counts["chains"] += 1
        is_empty = True
        for entry in chain.entries:
            is_empty = False
            counts["entries"] += 1
            yield json.dumps(_line_of(entry))
        # A chain of which nothing is left must not go unmentioned.
        lost = Head(chain=chain.name, n=0, hash=GENESIS_HASH) if is_empty else None
        if head := chain.head or lost:
            yield json.dumps(
                {"head": {"chain": head.chain, "n": head.n, "hash": head.hash}}
            )


def _line_of(entry: SealedEntry) -> dict[str, object]:
    return {
        "chain": entry.chain,
        "n": entry.n,
        "prev_hash": entry.prev_hash,
        "hash": entry.hash,
        "entry": entry.canonical,
        "columns": dict(entry.columns),
        **({} if entry.private is None else {"private": entry.private}),
        **({"redacted": True} if entry.is_redacted else {}),
    }


def _sealed_bytes(line: str) -> bytes:
    """A line as it is sealed, however the lines of its file end."""
    return line.rstrip("\r\n").encode("utf-8", "surrogatepass") + b"\n"


def verify_export(lines: Iterable[str]) -> VerificationReport:
    """Verify an export without a database.

    A line that is no entry is damage of its own, not an error: a cut or edited
    file must be named as such.
    """
    export = _Export()
    for line in lines:
        export.read(line)
        if not export.is_known:
            break
    return export.verified()


class _Export:
    """What has been read of an export so far."""

    def __init__(self) -> None:
        self.is_known = False  #: whether it began as an export does
        self._number = 0
        self._is_former = False
        self._is_private = True
        self._is_partial = False
        self._entries: dict[str, list[SealedEntry]] = {}
        self._heads: dict[str, Head] = {}
        self._seal: Mapping[str, Any] | None = None
        self._digest = hashlib.sha256()
        self._damage: list[Damage] = []

    def read(self, line: str) -> None:
        """Take the next line."""
        self._number += 1
        try:
            self._take(json.loads(line))
        except _UNREADABLE:
            self._add_damage(
                DamageKind.MALFORMED,
                f"line {self._number} is not a line of an audit export",
            )
        if self._seal is None:
            self._digest.update(_sealed_bytes(line))

    def _take(self, document: Mapping[str, Any]) -> None:
        if self._seal is not None:
            raise ValueError("nothing follows the seal")
        if self._number == 1:
            self._take_format(document)
        elif "seal" in document and not self._is_former:
            self._seal = dict(document["seal"])
        elif "head" in document:
            self._take_head(document["head"])
        else:
            entry = self._entry_of(document)
            self._entries.setdefault(entry.chain, []).append(entry)

    def _take_format(self, document: Mapping[str, Any]) -> None:
        if document["format"] not in {EXPORT_FORMAT, FORMER_FORMAT}:
            raise ValueError("not this format")
        self._is_former = document["format"] == FORMER_FORMAT
        self._is_private = self._is_former or bool(document["private"])
        self._is_partial = not self._is_former and document.get("partial") is True
        self.is_known = True

    def _take_head(self, given: Mapping[str, Any]) -> None:
        head = Head(
            chain=str(given["chain"]), n=int(given["n"]), hash=str(given["hash"])
        )
        if head.chain in self._heads:
            self._add_damage(
                DamageKind.INSERTED,
                f"line {self._number} is a second head of {head.chain}",
            )
        self._heads.setdefault(head.chain, head)

    def _entry_of(self, document: Mapping[str, Any]) -> SealedEntry:
        entry = SealedEntry(
            chain=str(document["chain"]),
            n=int(document["n"]),
            prev_hash=str(document["prev_hash"]),
            hash=str(document["hash"]),
            canonical=str(document["entry"]),
        )
        if self._is_former:
            return entry
        private = document.get("private")
        return replace(
            entry,
            columns=dict(document["columns"]),
            private=None if private is None else str(private),
            is_withheld=not self._is_private,
            is_redacted=not self._is_private and document.get("redacted") is True,
        )

    def verified(self) -> VerificationReport:
        """What was found, once all lines have been read."""
        if self._number == 0:
            self.read("")
        if not self.is_known:
            return VerificationReport(
                entries=0, chains=0, damage=tuple(self._damage), is_sealed=False
            )
        present = self._entries.keys() | self._heads.keys()
        expected = set() if self._is_partial else {SYSTEM_CHAIN}
        report = verify_chains(
            Chain(
                name=name,
                entries=self._entries.get(name, []),
                head=self._heads.get(name),
            )
            for name in sorted(present | expected)
        )
        report = replace(report, chains=len(present))
        self._check_seal(report)
        return replace(
            report,
            damage=(*self._damage, *report.damage),
            is_sealed=self._seal is not None,
            limits=PARTIAL + LIMITS if self._is_partial else LIMITS,
        )

    def _check_seal(self, report: VerificationReport) -> None:
        if self._is_former:
            return
        if self._seal is None:
            self._number += 1
            self._add_damage(DamageKind.TRUNCATED, "it ends without its seal")
            return
        counted = (report.chains, report.entries)
        sealed = (self._seal.get("chains"), self._seal.get("entries"))
        if sealed != counted:
            self._add_damage(
                DamageKind.EDITED,
                "its seal is of {} chains and {} entries, ".format(*sealed)
                + "{} and {} are there".format(*counted),
            )
        elif self._seal.get("sha256") != self._digest.hexdigest() and not (
            self._damage or report.damage  # which say what was done, and where
        ):
            self._add_damage(
                DamageKind.EDITED, "its seal is of other lines than stand in it"
            )

    def _add_damage(self, kind: DamageKind, message: str) -> None:
        self._damage.append(
            Damage(chain="", n=self._number, kind=kind, message=message)
        )
