"""A registry as it is after a year: something of everything that pages show.

- ``fraud`` has versions in every stage, a rollback, and a deployment that drifts;
  ``churn`` a request that waits; ``prices`` a hold; ``summary`` is a prompt.
- One endpoint takes everything, one fails, one is paused.
- What its texts are is asked of ``Texts``: those of the tour are as people write them,
  those of the tests of injection are not.
"""

from dataclasses import dataclass, field
from hashlib import sha256
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import quote

from registry.client import RegistryClient
from tests.receiver import ReceivedRequest, Receiver
from tests.server import RunningServer
from tests.waiting import wait_for

#: The default policy, and for ``churn`` a check and an approval besides.
GATES = """
[[override]]
models = "churn*"
[[override.moves]]
from = "None"
to = "Staging"
via = "promotion"
[[override.moves]]
from = "Staging"
to = "Production"
via = "promotion"
checks = ["bias"]
approvals = 1
[[override.moves]]
from = "Production"
to = "Archived"
via = "archival"
[[override.moves]]
from = "Archived"
to = "Production"
via = "rollback"
"""
#: As MLflow writes it.
SIGNATURE = """
signature:
  inputs: '[{"type": "double", "name": "amount", "required": true}, {"type": "string",
    "name": "country", "required": false}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}]'
  params: null
"""
MODELS = ("fraud", "churn", "prices")


class Texts:
    """What people write.

    Attributes:
        copies: how many there are of what has a short text of its own.
    """

    copies = 1

    def prose(self, text: str, *, most: int = 4_000) -> str:
        """A text of some length: a description, a reason, a comment."""
        del most
        return text

    def short(self, text: str) -> str:
        """A text of a line: the value of a tag or parameter, a name."""
        return text

    def label(self, text: str) -> str:
        """The name of a token or the like, which has no slash or colon."""
        return text

    def tags(self, tags: dict[str, str]) -> dict[str, str]:
        return tags

    def name(self, name: str) -> str:
        """The name of a model."""
        return name


@dataclass
class World:
    """What was made, for whoever looks at it."""

    server: RunningServer
    client: RegistryClient
    texts: Texts
    fraud: str
    churn: str
    prices: str
    summary: str
    endpoints: dict[str, str] = field(default_factory=dict)
    request: str = ""

    def post(self, path: str, body: dict[str, Any], token: str = "") -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {token or self.server.token}"}
        answer = self.server.http().post(
            f"{self.server.url}/api/v1{path}", json=body, headers=headers
        )
        assert answer.ok, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def token(self, name: str, role: str, **members: object) -> str:
        made = self.post("/tokens", {"name": name, "role": role, **members})
        return str(made["token"])


def fill(
    server: RunningServer, receiver: Receiver, directory: Path, texts: Texts
) -> World:
    """Make all of it; the receiver answers at ``/fails`` with 500, else with 200."""
    client = server.client()
    fraud, churn, prices = map(texts.name, MODELS)
    summary = texts.name("summary")
    world = World(server, client, texts, fraud, churn, prices, summary)
    _listen(world, receiver)
    _train(world, directory)
    _write(world)
    _move(world)
    _ask(world)
    _report(world)
    _admit(world)
    wait_for(lambda: len(receiver.requests), lambda count: count > 10)
    return world


def refuse_failing(request: ReceivedRequest) -> int:
    """What the receiver answers."""
    return 500 if request.path.startswith("/fails") else 200


def _listen(world: World, receiver: Receiver) -> None:
    base, prose = receiver.url.removesuffix("/hook"), world.texts.prose
    for name, path, told in (
        ("deploys", "/hook", "Deploys what enters Production"),
        ("fails", "/fails", "Retrains the feature store"),
        ("paused", "/paused", "Mirror in the other region"),
    ):
        made = world.client.webhooks.create(
            base + path, description=prose(told, most=1_000)
        )
        world.endpoints[name] = made.id
    world.client.webhooks.update(world.endpoints["paused"], state="paused")


def _train(world: World, directory: Path) -> None:
    texts, client = world.texts, world.client
    for name, told, owner in (
        (world.fraud, "Card payments that are probably not the holder's.", "risk"),
        (world.churn, "Customers who are likely to leave within 90 days.", "growth"),
        (world.prices, "What a flat is worth, by place and size.", "housing"),
    ):
        client.create_model(
            name,
            description=texts.prose(told),
            tags=texts.tags({"owner": owner, "tier": "1"}),
        )
    for model, count in ((world.fraud, 7), (world.churn, 3), (world.prices, 2)):
        for number in range(1, count + 1):
            _register(world, model, number, directory)
    client.set_alias(world.fraud, "champion", 4)
    client.update_version(
        world.fraud, 6, description=texts.prose("Trained without the leaking column.")
    )


def _register(world: World, model: str, number: int, directory: Path) -> None:
    texts = world.texts
    artifact = directory / f"{number}"
    artifact.mkdir(exist_ok=True)
    (artifact / "MLmodel").write_text(
        texts.prose("artifact_path: model\nflavors:\n  sklearn: {}\n") + SIGNATURE
    )
    (artifact / "requirements.txt").write_text(f"scikit-learn==1.5.{number}\n")
    (artifact / "model.bin").write_bytes(b"weights" * number)
    world.client.register(
        model,
        artifact,
        run_id=sha256(f"run {number}".encode()).hexdigest()[:32],
        description=texts.prose(f"Nightly training, data up to week {20 + number}."),
        tags=texts.tags({"framework": "sklearn", "team": "risk"}),
        params=texts.tags({"max_depth": str(4 + number), "learning_rate": "0.1"}),
        metrics={
            texts.short("auc"): 0.9 + 0.008 * number - 0.01 * (number == 5),
            "recall": 0.7 + 0.02 * number,
            "loss": 1 / number,
        },
        git_commit=sha256(f"commit {number}".encode()).hexdigest()[:40],
        datasets=[{"name": texts.short("payments"), "digest": f"{number:08x}"}],
    )


def _write(world: World) -> None:
    """Have MLflow's client register a prompt."""
    is_prompt = {"key": "mlflow.prompt.is_prompt", "value": "true"}
    text = {
        "key": "mlflow.prompt.text",
        "value": world.texts.prose("Sum this up in three lines: {{article}}"),
    }
    base = f"{world.server.url}/api/2.0/mlflow"
    for path, body in (
        ("registered-models/create", {"tags": [is_prompt]}),
        (
            "model-versions/create",
            {"source": "dummy-source", "tags": [is_prompt, text]},
        ),
    ):
        answer = world.server.http().post(
            f"{base}/{path}", json={"name": world.summary, **body}
        )
        assert answer.ok, answer.text


def _move(world: World) -> None:
    client, prose = world.client, world.texts.prose
    people = cycle(
        RegistryClient(world.server.url, world.token(world.texts.label(name), role))
        for name, role in (("ana", "promoter"), ("ben", "promoter"))
    )
    for number, stages in {
        2: ("Staging", "Production"),
        3: ("Staging", "Production"),
        4: ("Staging", "Production"),
        5: ("Staging", "Production"),
        6: ("Staging",),
    }.items():
        for stage in stages:
            next(people).transition(
                world.fraud, number, stage, reason=prose(f"better than {number - 1}")
            )
    next(people).rollback(world.fraud, reason=prose("latency doubled in eu-west"))
    client.transition(world.prices, 1, "Staging")
    client.transition(world.prices, 1, "Production", reason=prose("first of its kind"))
    client.holds.set(world.prices, "Production", reason=prose("audit of the quarter"))


def _ask(world: World) -> None:
    client, texts = world.client, world.texts
    client.transition(world.churn, 1, "Staging")
    client.transition(world.churn, 2, "Staging")
    client.checks.report(
        world.churn,
        2,
        "bias",
        "passed",
        url="https://ci.example.com/runs/17",
        description=texts.prose("all groups within 2 %", most=1_000),
    )
    asker = world.token(texts.label("eve"), "promoter")
    asked = world.post(
        f"/models/{_segment(world.churn)}/versions/2/transitions",
        {"to_stage": "Production", "reason": texts.prose("wins the shadow test")},
        asker,
    )
    world.request = str(asked["request"]["id"])


def _segment(name: str) -> str:
    return quote(name, safe="")


def _report(world: World) -> None:
    report, texts = world.client.deployments.report, world.texts
    url = "https://deploy.example.com/17"
    report(world.fraud, 4, "succeeded", environment=texts.short("eu-west"), url=url)
    report(
        world.fraud,
        5,
        "succeeded",
        environment=texts.short("us-east"),
        url=url,
        description=texts.prose("rollback not picked up yet", most=1_000),
    )
    for _ in range(texts.copies):
        report(
            world.prices,
            1,
            "failed",
            environment=texts.short("staging"),
            description=texts.prose("image not found", most=1_000),
        )


def _admit(world: World) -> None:
    texts = world.texts
    for role, subject in (("promoter", "leads"), ("reader", "analysts")) * texts.copies:
        body = {"subject_kind": "group", "subject": texts.short(subject), "role": role}
        world.post("/role-bindings", {**body, "models": "*"})
    world.post(
        "/trusted-publishers",
        {
            "provider": "github",
            "name": texts.label("train"),
            "claims": {
                "repository": "acme/fraud",
                "repository_owner_id": "42",
                "workflow": "train.yml",
            },
            "role": "writer",
        },
    )
