"""Random policies, and random calls over every way in.

- The pure policy is the oracle: it is asked about every line of the history that a call
  leaves, on what was there before the call.
- Nobody here may break the glass; they ask for it all the same.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

from registry.domain.actors import Actor, ActorKind, Caller
from registry.domain.commands.change import Context, Snapshot, Want
from registry.domain.freezes import Freeze
from registry.domain.gates import Evidence, Requirements
from registry.domain.policy import (
    BUILT_IN_STAGES,
    AliasRule,
    Cause,
    Move,
    StagePolicy,
)
from registry.domain.roles import Action
from registry.persistence import snapshot
from tests.integration.api.driver import Document, Driver
from webhooks.events import new_event_id

NUMBERS = (1, 2, 3)
SOURCE = "s3://elsewhere/model"
MLFLOW = "/api/2.0/mlflow"
NOW = datetime.now(UTC)
DAY = timedelta(days=1)

ASKS = (
    *[Requirements()] * 6,
    Requirements(required_tags=("owner",)),
    Requirements(checks=("tests",)),
    Requirements(checks=("tests",), required_tags=("owner",)),
    Requirements(require_verified=True),
    Requirements(min_time_in_stage=DAY),
)
EXCLUSIVE: tuple[Mapping[str, str], ...] = (
    {},
    {"Production": "Archived"},
    {"Production": "None", "Staging": "Archived"},
)
USUAL = (
    ("None", "Staging", Cause.PROMOTION),
    ("Staging", "Production", Cause.PROMOTION),
    ("Production", "Archived", Cause.ARCHIVAL),
    ("Archived", "Production", Cause.ROLLBACK),
)
BOUND = (
    AliasRule(pattern="production", stage="Production"),
    AliasRule(pattern="stag*", stage="Staging"),
)


def random_policy(rng: Random, digest: str) -> StagePolicy:
    """Some moves between the built-in stages, each with some gates."""
    champion = AliasRule(
        pattern="champion",
        action=rng.choice([Action.WRITE, Action.PROMOTE]),
        stages=rng.choice([(), ("Production",), ("Staging", "Production")]),
        asks=rng.choice(ASKS),
    )
    frozen = Freeze(
        reason="frozen",
        stages=rng.choice([(), ("Production",)]),
        begins=NOW - DAY,
        ends=rng.choice([NOW - DAY / 2, NOW + DAY]),
    )
    return StagePolicy(
        stages=BUILT_IN_STAGES,
        moves=tuple([_random_move(rng) for _ in range(8)] + _usual_moves(rng)),
        exclusive=rng.choice(EXCLUSIVE),
        deletable=frozenset(),
        held_after_rollback=frozenset(rng.choice([(), ("Production",)])),
        aliases=tuple(rng.sample([*BOUND, champion], rng.randint(0, 3))),
        freezes=rng.choice([(), (), (), (frozen,)]),
        digest=digest,
    )


def _usual_moves(rng: Random) -> list[Move]:
    """Those without which little would be moved; the others come before them."""
    return [
        Move(from_stage=start, to_stage=end, via=via, asks=rng.choice(ASKS))
        for start, end, via in USUAL
    ]


def _random_move(rng: Random) -> Move:
    return Move(
        from_stage=rng.choice(["*", *BUILT_IN_STAGES]),
        to_stage=rng.choice(["*", *BUILT_IN_STAGES]),
        via=rng.choice([*[Cause.PROMOTION] * 4, Cause.ARCHIVAL, Cause.ROLLBACK]),
        asks=rng.choice(ASKS),
        approvals=rng.choice([0, 0, 0, 0, 1, 2]),
    )


@dataclass
class Registry:
    """The application, who is there, and what was seen."""

    admin: Driver
    people: Mapping[str, Driver]
    seen: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Call:
    """What a call is about; each way in takes of it what it needs."""

    by: Driver
    model: str
    number: int
    stage: str
    alias: str
    flag: bool

    @property
    def path(self) -> str:
        return f"/models/{self.model}/versions/{self.number}"

    @property
    def fields(self) -> Document:
        return {"name": self.model, "version": str(self.number)}

    def mlflow(self, path: str, method: str = "POST", **fields: object) -> None:
        sent = {**self.fields, **fields}
        self.by.client.open(MLFLOW + path, method=method, json=sent)

    def decide(self, how: str) -> None:
        path = f"/transition-requests?limit=200&model={self.model}"
        items = self.by.read(path)["items"]
        for request in items[self.number - 1 : self.number]:
            self.by.post(f"/transition-requests/{request['id']}/{how}", {})


def transition(call: Call) -> None:
    past = {"break_glass": True, "reason": "urgent"} if call.flag else {}
    call.by.move(call.number, call.stage, model=call.model, **past)


def rollback(call: Call) -> None:
    to = {"to_version": call.number} if call.flag else {}
    call.by.rollback(call.model, **to)


def mlflow_transition(call: Call) -> None:
    path = "/model-versions/transition-stage"
    call.mlflow(
        f"/databricks{path}" if call.number == 1 else path,
        stage=call.stage,
        archive_existing_versions=call.flag,
    )


def set_alias(call: Call) -> None:
    if call.flag:
        call.mlflow("/registered-models/alias", alias=call.alias)
    else:
        path = f"/models/{call.model}/aliases/{call.alias}"
        answer = call.by.put(path, json={"version": call.number})
        if answer.status_code == 200:
            assert call.by.read(path)["version"] == call.number


def delete_alias(call: Call) -> None:
    if call.flag:
        call.mlflow("/registered-models/alias", "DELETE", alias=call.alias)
    else:
        call.by.delete(f"/models/{call.model}/aliases/{call.alias}")


def ask(call: Call) -> None:
    asks = {"model": call.model, "version": call.number, "to_stage": call.stage}
    call.by.post("/transition-requests", asks)


def approve(call: Call) -> None:
    call.decide("approve")


def reject(call: Call) -> None:
    call.decide("reject" if call.flag else "cancel")


def check(call: Call) -> None:
    status = "failed" if call.flag else "passed"
    call.by.post(f"{call.path}/checks", {"name": "tests", "status": status})


def tag(call: Call) -> None:
    call.by.patch(call.path, {"tags": {"owner": None if call.flag else "team"}})


def hold(call: Call) -> None:
    path = f"/models/{call.model}/holds/{call.stage}"
    if call.flag:
        call.by.put(path, json={"reason": "an incident"})
    else:
        call.by.delete(path)


def rehearse(call: Call) -> None:
    through = {"number": call.number, "through": [call.stage], "aliases": [call.alias]}
    call.by.post("/rehearsals", {"name": call.model, **through})


WAYS: tuple[Callable[[Call], None], ...] = (
    *(transition, transition, mlflow_transition, mlflow_transition, rollback),
    *(rollback, set_alias, set_alias, delete_alias, ask, approve, approve, reject),
    *(check, check, tag, hold, rehearse),
)


class Story:
    """Three versions of a model under a policy of its own."""

    def __init__(self, registry: Registry, rng: Random, name: str) -> None:
        self.registry, self.rng, self.model = registry, rng, name
        self.admin = registry.admin
        self.policy = random_policy(rng, name)
        extensions = self.admin.app.extensions
        extensions["stagegate"] = dataclasses.replace(
            extensions["stagegate"], policy=self.policy
        )
        self.admin.create_model(self.model)
        for _ in NUMBERS:
            self.admin.register(self.model, source=SOURCE, tags={"owner": "team"})

    def step(self) -> None:
        """Call once, and hold what came of it against the policy."""
        way = self.rng.choice(WAYS)
        who = self.rng.choice(["promoter", "promoter", "promoter", "ci", "writer"])
        if way in {approve, reject}:
            who = self.rng.choice(["approver", "other"])
        before = {number: self.look(number) for number in NUMBERS}
        pointed, known = self.pointed(), len(self.lines())
        way(self.random_call(self.registry.people[who]))
        lines = self.lines()[known:]
        assert way is not rehearse or not lines
        for line in lines:
            self.check_line(line, before, lines[-1])
        self.check_aliases(before, pointed, who)
        self.registry.seen[way.__name__] += bool(lines)

    def random_call(self, by: Driver) -> Call:
        """Mostly for a stage where some rule lets the version go."""
        number = self.rng.choice(NUMBERS)
        now = self.admin.version(number, self.model)["stage"]
        allowed = self.policy.allowed_from(now) * 3
        return Call(
            by=by,
            model=self.model,
            number=number,
            stage=self.rng.choice([*BUILT_IN_STAGES, *allowed]),
            alias=self.rng.choice(["production", "Production", "staging", "champion"]),
            flag=self.rng.random() < 0.3,
        )

    def look(self, number: int) -> Snapshot:
        want = Want(number=number, checks=True, entered_at=True, stages_before=True)
        with self.admin.engine.connect() as cx:
            return snapshot.gather(cx, snapshot.find(cx, self.model), want)

    def evidence(self, seen: Snapshot, *, is_ci: bool) -> Evidence:
        kind = ActorKind.CI if is_ci else ActorKind.TOKEN
        context = Context(
            caller=Caller(actor=Actor(kind=kind, name="x")),
            policy=self.policy,
            now=datetime.now(UTC),
            new_event_id=new_event_id,
        )
        return seen.evidence(context)

    def lines(self) -> list[Document]:
        path = f"/models/{self.model}/history?limit=200"
        return list(reversed(self.admin.read(path)["items"]))

    def check_line(
        self, line: Document, before: Mapping[int, Snapshot], main: Document
    ) -> None:
        """The policy allows it, by what was there before."""
        seen = before[line["version"]]
        assert seen.version is not None
        assert not line["broke_glass"]
        if (
            line["cause"] == Cause.SUPERSEDED
            and main["to_stage"] in self.policy.exclusive
        ):
            assert seen.version.stage == main["to_stage"]
            assert line["to_stage"] == self.policy.exclusive[main["to_stage"]]
            return
        request = self.request_of(line)
        requester = (
            request["requested_by"]["kind"] if request else line["actor"]["kind"]
        )
        found = self.policy.consider(
            seen.version,
            line["to_stage"],
            self.evidence(seen, is_ci=requester == "ci"),
            stages_before=seen.stages_before if line["cause"] == "rollback" else None,
            is_approved=request is not None,
        )
        assert found.reasons == [], (line, found.reasons)
        assert found.move is not None
        if found.move.approvals:
            assert request is not None
            (approved,) = (
                entry["approved_by"]
                for entry in self.admin.audit(self.model)
                if entry.get("transition_id") == line["transition_id"]
            )
            assert len(approved) >= found.move.approvals
            assert request["requested_by"]["name"] not in approved

    def request_of(self, line: Document) -> Document | None:
        request = line["request_id"]
        return self.admin.read(f"/transition-requests/{request}") if request else None

    def pointed(self) -> dict[str, int | None]:
        """Where aliases point, by every way to ask."""
        found: dict[str, int | None] = {}
        for alias in ("production", "staging", "champion"):
            answer = self.admin.get(f"/models/{self.model}/aliases/{alias}")
            mlflow = self.admin.client.get(
                f"{MLFLOW}/registered-models/alias",
                query_string={"name": self.model, "alias": alias},
            )
            found[alias] = (answer.get_json() or {}).get("version")
            told = (mlflow.get_json() or {}).get("model_version", {}).get("version")
            assert (told and int(told)) == found[alias]
        return found

    def check_aliases(
        self,
        before: Mapping[int, Snapshot],
        pointed: Mapping[str, int | None],
        who: str,
    ) -> None:
        last = {line["version"]: line for line in self.lines()}
        for alias, number in self.pointed().items():
            rule = self.policy.alias_rule(alias)
            if rule and rule.stage:
                inside = [x for x in last.values() if x["to_stage"] == rule.stage]
                entered = max(inside, key=lambda x: self.lines().index(x), default=None)
                assert number == (entered["version"] if entered else None)
            elif rule and number and number != pointed[alias]:
                seen = before[number]
                assert seen.version is not None
                is_ci = who == "ci"
                evidence = self.evidence(seen, is_ci=is_ci)
                assert rule.refusals(seen.version, evidence) == []
                assert rule.action is Action.WRITE or who != "writer"
