"""What an import did, or would do, and what it left alone and why."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """How a finding ends."""

    CONFLICT = "conflict"  #: what is here differs; it was left alone
    REFUSED = "refused"  #: this registry, or its policy, does not take it
    NOTE = "note"  #: it was done, but not as at the source


class Count(StrEnum):
    """What is counted; the names are those of the JSON report."""

    MODELS = "models"
    MODELS_CREATED = "models_created"
    MODELS_UNCHANGED = "models_unchanged"
    VERSIONS = "versions"
    VERSIONS_REGISTERED = "versions_registered"
    VERSIONS_UNCHANGED = "versions_unchanged"
    NUMBERS_LEFT_EMPTY = "numbers_left_empty"
    STAGE_CHANGES = "stage_changes"
    ALIASES_SET = "aliases_set"
    DESCRIBED = "described"


#: What says that something was changed.
_CHANGES = frozenset(
    {
        Count.MODELS_CREATED,
        Count.VERSIONS_REGISTERED,
        Count.NUMBERS_LEFT_EMPTY,
        Count.STAGE_CHANGES,
        Count.ALIASES_SET,
        Count.DESCRIBED,
    }
)


@dataclass(frozen=True)
class Finding:
    """Something that a person should know; ``version`` None for the whole model."""

    kind: Kind
    model: str
    version: int | None
    reason: str

    @property
    def document(self) -> dict[str, Any]:
        """The finding as JSON."""
        return {
            "kind": str(self.kind),
            "model": self.model,
            "version": self.version,
            "reason": self.reason,
        }


@dataclass
class Report:
    """Everything about one run; ``is_trial``: nothing was changed."""

    origin: str
    is_trial: bool = False
    counts: Counter[Count] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def add(self, kind: Kind, model: str, version: int | None, reason: str) -> None:
        """Take down a finding."""
        self.findings.append(Finding(kind, model, version, reason))

    def has(self, kind: Kind) -> bool:
        """Whether there is a finding of this kind."""
        return any(finding.kind is kind for finding in self.findings)

    @property
    def changes(self) -> int:
        """How many changes were made, or would be."""
        return sum(self.counts[one] for one in _CHANGES)

    @property
    def document(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "from": self.origin,
            "dry_run": self.is_trial,
            "changes": self.changes,
            **{str(one): self.counts[one] for one in Count},
            **{
                f"{member}": [
                    finding.document
                    for finding in self.findings
                    if finding.kind is kind
                ]
                for kind, member in _MEMBERS.items()
            },
        }


_MEMBERS = {Kind.CONFLICT: "conflicts", Kind.REFUSED: "refused", Kind.NOTE: "notes"}
