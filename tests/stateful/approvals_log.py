"""What a model's audit log must never say: a promotion that nobody else approved.

Written from the issue's words and from nothing of the code: who asked is nobody who
approved, each approval is of what was there when the version moved, and is used once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import permutations

from tests.integration.api.driver import Document

#: By name, who is behind the credential: its makers, or the person. Of two tokens that
#: one made nobody is behind both: they may have been made for two people.
BEHIND: Mapping[str, set[str]] = {
    "alice": set(),
    "alice-2": {"alice"},
    "alice-3": {"alice", "a admin"},  # made by a token that hers made
    "job": {"pat"},  # a CI job that pat started
    "pat": set(),
    "bob": set(),
    "carol": set(),
}
NEEDED = {"one-": 1, "two-": 2}

#: What a gate looked at: when the check was reported, and the value of the tag.
Looked = tuple[int, str, str | None]


@dataclass
class Log:
    """What there is after some entries of a model's log; each is read by ``read``.

    Attributes:
        expired_at: by request, how many entries there were when its time was over.
        moved: the entry by which each version entered its stage.
        asked: by request, its entry, and what that says.
        given: by request and person, what was there when they approved.
    """

    expired_at: Mapping[str, int]
    n: int = 0
    promotions: int = 0
    checks: dict[int, tuple[int, str]] = field(default_factory=dict)
    owners: dict[int, str | None] = field(default_factory=dict)
    moved: dict[int, int] = field(default_factory=dict)
    asked: dict[str, tuple[int, Document]] = field(default_factory=dict)
    given: dict[tuple[str, str], Looked] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    def read(self, entry: Document) -> None:
        readers = {
            "model_version.registered": self.note_entry,
            "model_version.updated": self.note_tags,
            "model_version.check_reported": self.note_check,
            "transition_request.created": self.note_request,
            "transition_request.updated": self.note_approval,
            "model_version.stage_changed": self.note_move,
        }
        self.n += 1
        readers.get(entry["action"], lambda _: None)(entry)

    def note_entry(self, entry: Document) -> None:
        self.moved[entry["version"]] = self.n
        self.note_tags(entry)

    def note_tags(self, entry: Document) -> None:
        self.owners[entry["version"]] = entry["after"].get("tags", {}).get("owner")

    def note_check(self, entry: Document) -> None:
        self.checks[entry["version"]] = self.n, entry["after"]["status"]

    def note_request(self, entry: Document) -> None:
        self.asked[entry["after"]["id"]] = self.n, entry

    def note_approval(self, entry: Document) -> None:
        looked = self.looked(entry["version"])
        self.given[entry["request"], entry["actor"]["name"]] = looked

    def note_move(self, entry: Document) -> None:
        is_promoted = entry["after"]["stage"] == "Production"
        if is_promoted and "broke_glass" not in entry:
            self.check_request(entry)
            self.check_approvals(entry)
            self.promotions += 1
        for number in (entry["version"], *entry["after"]["superseded"]):
            self.moved[number] = self.n

    def looked(self, version: int) -> Looked:
        at, status = self.checks.get(version, (-1, "missing"))
        return at, status, self.owners.get(version)

    def check_request(self, entry: Document) -> None:
        """It was for this very move, was not used before, and had not expired."""
        request = entry["request"]
        at, asked = self.asked[request]
        assert request not in self.used, "it was used before"
        self.used.add(request)
        assert self.n <= self.expired_at.get(request, self.n), "it had expired"
        assert asked["version"] == entry["version"]
        assert asked["after"]["artifact_digest"] == entry["artifact_digest"]
        assert asked["after"]["policy"] == entry["policy"]
        assert at > self.moved[entry["version"]], "it had left its stage since"

    def check_approvals(self, entry: Document) -> None:
        """Others gave them, enough of them, and for what is there now."""
        request, names = entry["request"], entry["approved_by"]
        asked_by, last = self.asked[request][1]["actor"]["name"], entry["actor"]["name"]
        for one, other in permutations((asked_by, *names), 2):
            assert one != other, "their own, or one given twice"
            assert one not in BEHIND[other], "by who is behind it"
        assert last in names
        assert len(names) >= NEEDED[entry["model"][:4]]
        _, status, owner = looked = self.looked(entry["version"])
        assert status == "passed"
        assert owner is not None
        for name in set(names) - {last}:
            assert self.given[request, name] == looked, "what was approved is gone"
