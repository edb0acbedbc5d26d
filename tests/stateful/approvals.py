"""Random stories of requests and approvals.

Nothing is foretold: whatever was answered, the log of the story is read in the end
(``approvals_log``).
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from sqlalchemy import text

from tests.integration.api.driver import Document, Driver, document_of
from tests.integration.api.gated import checked
from tests.stateful.approvals_log import BEHIND, Log

REVISIONS = ("first", "second")  #: of the policy
PRODUCTION = "Production"
EXPIRE = text(
    "UPDATE transition_requests SET expires_at = '2020-01-01 00:00:00' WHERE "
    "model_id = (SELECT id FROM registered_models WHERE name = :name)"
)

HAPPENINGS = (
    *("check_again", "fail_check", "retag", "untag", "leave_and_come_back"),
    *("break_glass", "swap_artifact", "revise_policy", "let_time_pass", "reject"),
)

numbers = st.sampled_from([1, 2])
ways = st.sampled_from(["transition", "request", "alias", "mlflow"])
people = st.sampled_from(sorted(BEHIND))
#: Mostly who may approve what others ask for: little would be moved else.
approvers = st.sampled_from(["alice-2", "bob", "bob", "carol", "carol", "pat"]) | people


@dataclass
class World:
    """The registry by revision of its policy and by person; and what was seen there."""

    people: Mapping[tuple[str, str], Driver]
    stories: int = 0
    seen: Counter[str] = field(default_factory=Counter)


class Approvals(RuleBasedStateMachine):
    """One story: a model whose two versions wait for approvals."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.revision = REVISIONS[0]
        self.requests: list[str] = []
        self.expired_at: dict[str, int] = {}
        self.swapped: set[int] = set()
        world.stories += 1

    @initialize(kind=st.sampled_from(["one-", "two-", "two-"]))
    def begin(self, kind: str) -> None:
        """Two versions in Staging that lack approvals, and nothing else."""
        self.model = f"{kind}{self.world.stories}"
        self.admin.create_model(self.model)
        for number in (1, 2):
            self.admin.ready(self.model, tags={"owner": "team"})
            self.admin.moved(number, "Staging", model=self.model)
            checked(self.admin, number, model=self.model)

    def person(self, name: str) -> Driver:
        return self.world.people[self.revision, name]

    @property
    def admin(self) -> Driver:
        return self.person("alice")

    @rule(
        name=people,
        number=numbers,
        way=ways,
        by=st.lists(approvers, min_size=1, max_size=3),
        meanwhile=st.sampled_from([None, *HAPPENINGS]),
        at=st.integers(0, 1),
    )
    def attempt(
        self,
        name: str,
        number: int,
        way: str,
        *,
        by: list[str],
        meanwhile: str | None,
        at: int,
    ) -> None:
        """Ask for a move that only lacks approvals, and have people give them."""
        self.make_ready(number)
        self.ask(self.person(name), number, way)
        for each in by[:at]:
            self.approve(each, 0)
        if meanwhile:
            getattr(self, meanwhile)(number)
        for each in by[at:]:
            self.approve(each, 0)

    @rule(name=approvers, back=st.integers(0, 2))
    def approve(self, name: str, back: int) -> None:
        """Approve the newest request, or one from before."""
        if back < len(self.requests):
            path = f"/transition-requests/{self.requests[back]}/approve"
            answer = self.person(name).post(path, {})
            assert answer.status_code in {200, 403, 409}, answer.text
            self.world.seen[f"approve {answer.status_code}"] += 1
            document = document_of(answer)
            is_moved = document.get("transition") is not None
            assert not (is_moved and document["version"] in self.swapped)

    def make_ready(self, number: int) -> None:
        if number in self.swapped:
            self.swap_artifact(number)
        if self.admin.version(number, self.model)["stage"] == PRODUCTION:
            self.leave(number)
        self.admin.move(number, "Staging", model=self.model)
        self.retag(number, "team")
        self.check_again(number)

    def ask(self, by: Driver, number: int, way: str) -> None:
        if way == "transition":
            by.move(number, PRODUCTION, model=self.model)
        elif way == "request":
            asked = {"model": self.model, "version": number, "to_stage": PRODUCTION}
            by.post("/transition-requests", asked)
        elif way == "alias":
            path = f"/models/{self.model}/aliases/production"
            by.put(path, json={"version": number})
        else:
            path = "/api/2.0/mlflow/model-versions/transition-stage"
            of = {"name": self.model, "version": str(number), "stage": PRODUCTION}
            by.client.post(path, json=of)
        path = f"/transition-requests?state=all&limit=200&model={self.model}"
        self.requests = [each["id"] for each in self.admin.read(path)["items"]]

    def check_again(self, number: int) -> None:
        checked(self.admin, number, model=self.model)

    def reject(self, _: int) -> None:
        for request in self.requests[:1]:
            self.person("bob").post(f"/transition-requests/{request}/reject", {})

    def fail_check(self, number: int) -> None:
        checked(self.admin, number, "failed", model=self.model)

    def retag(self, number: int, owner: str | None = "other") -> None:
        path = f"/models/{self.model}/versions/{number}"
        self.admin.patch(path, {"tags": {"owner": owner}})

    def untag(self, number: int) -> None:
        self.retag(number, None)

    def leave(self, number: int) -> None:
        self.admin.move(number, "Archived", model=self.model)

    def leave_and_come_back(self, number: int) -> None:
        self.leave(number)
        self.admin.move(number, "Staging", model=self.model)

    def break_glass(self, number: int) -> None:
        past = {"break_glass": True, "reason": "urgent"}
        self.admin.move(number, PRODUCTION, model=self.model, **past)
        self.leave_and_come_back(number)

    def swap_artifact(self, number: int) -> None:
        """Put something else where the artifact is, or the same again."""
        source = self.admin.version(number, self.model)["source"]
        file = Path(unquote(urlsplit(source).path)) / "model.bin"
        self.swapped ^= {number}
        file.chmod(0o644)
        file.write_bytes(b"v9" if number in self.swapped else b"v%d" % number)

    def revise_policy(self, _: int) -> None:
        self.revision = REVISIONS[self.revision == REVISIONS[0]]

    def let_time_pass(self, _: int) -> None:
        """As if all requests that there are had been asked for long ago."""
        entries = len(self.log())
        for request in self.requests:
            self.expired_at.setdefault(request, entries)
        with self.admin.engine.begin() as connection:
            connection.execute(EXPIRE, {"name": self.model})

    def log(self) -> list[Document]:
        return self.admin.audit(self.model)

    def teardown(self) -> None:
        if hasattr(self, "model"):
            log = Log(self.expired_at)
            for entry in self.log():
                log.read(entry)
            self.world.seen["promoted"] += log.promotions
