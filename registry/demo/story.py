"""The story: two models, three promotions, one rollback, and who heard of it."""

import json
from collections.abc import Iterator
from pathlib import Path

from registry.client import RegistryClient
from registry.demo.receiver import Receiver
from registry.demo.screen import Screen
from registry.demo.server import DemoServer
from registry.demo.training import DATASET, Candidate, git_commit, train
from registry.domain.audit_export import verify_export
from registry.errors import RegistryError

MODEL = "digits"
_WAIT = ("--wait", "30")
_REFUSED = 3  # the exit code of the command line


class Story:
    """One telling, against a server and a receiver that are there."""

    def __init__(self, screen: Screen, server: DemoServer, receiver: Receiver) -> None:
        self._screen = screen
        self._server = server
        self._receiver = receiver
        self._client = RegistryClient(server.url, server.token)
        self._webhook_id = ""

    def tell(self) -> None:
        """Everything, in order.

        Raises:
            RegistryError: when a step does not do what the story says.
        """
        self._start()
        self._subscribe()
        self._register(self._train())
        self._promote()
        self._roll_back()
        self._show_webhooks()
        self._show_audit()

    def pause_webhooks(self) -> None:
        """Hold what comes next: the receiver ends with the story."""
        self._client.webhooks.update(self._webhook_id, state="paused")

    def _start(self) -> None:
        self._screen.step("Start the server: SQLite, a directory for artifacts")
        self._screen.command(["serve", "--port", str(self._server.port)])
        seconds = self._server.start()
        self._screen.say(f"{self._server.url} answers after {seconds:.1f} s")

    def _subscribe(self) -> None:
        self._screen.step("Subscribe a consumer that verifies every signature")
        self._screen.command(["webhooks", "create", self._receiver.url])
        subscription = self._client.webhooks.create(
            self._receiver.url, description="the consumer of the demo"
        )
        self._receiver.secret = subscription.secret
        self._webhook_id = subscription.id
        self._screen.say(f"subscription {subscription.id}; its secret is shown once")

    def _train(self) -> tuple[Candidate, Candidate]:
        self._screen.step("Train two models on scikit-learn's digits")
        candidates = train(self._server.directory)
        for candidate in candidates:
            accuracy = candidate.metrics["accuracy"]
            self._screen.say(f"{candidate.description}: accuracy {accuracy}")
        return candidates

    def _register(self, candidates: tuple[Candidate, ...]) -> None:
        self._screen.step("Register both as versions of one model")
        commit = git_commit()
        for candidate in candidates:
            self._run("register", MODEL, *_described(candidate, commit))

    def _promote(self) -> None:
        self._screen.step("Promote version 1; the policy knows no short cut")
        self._run("promote", MODEL, "1", "--to", "Production", ends_with=_REFUSED)
        self._run("promote", MODEL, "1", "--to", "Staging")
        self._run("promote", MODEL, "1", "--to", "Production", *_WAIT)
        self._screen.step("Promote version 2; version 1 is archived in the same move")
        self._run("promote", MODEL, "2", "--to", "Staging")
        better = ("--reason", "more accurate", "--expect-incumbent", "1")
        self._run("promote", MODEL, "2", "--to", "Production", *better, *_WAIT)

    def _roll_back(self) -> None:
        self._screen.step("Roll back: version 1 served before, so it serves again")
        self._run("rollback", MODEL, "--reason", "slow on the edge devices", *_WAIT)
        self._run("history", MODEL)

    def _show_webhooks(self) -> None:
        self._screen.step("What the consumer received, in this order")
        self._screen.table(
            ("#", "EVENT", "VERSION", "MOVE", "CAUSE", "SIGNATURE"), self._arrivals()
        )

    def _arrivals(self) -> Iterator[tuple[str, ...]]:
        for number, one in enumerate(self._receiver.received, start=1):
            move = (
                f"{one.data['from_stage']} -> {one.data['to_stage']}"
                if "to_stage" in one.data
                else ""
            )
            yield (
                str(number),
                one.event_type,
                str(one.data.get("version", "")),
                move,
                str(one.data.get("cause", "")),
                "verified" if one.is_verified else "REFUSED",
            )

    def _show_audit(self) -> None:
        self._screen.step("The audit log, and what it says when somebody edits it")
        entries = sorted(
            self._client.audit.entries(model=MODEL), key=lambda entry: entry.n
        )
        self._screen.table(
            ("ENTRY", "ACTION", "VERSION", "BY", "HASH"),
            (
                (
                    str(entry.n),
                    entry.action,
                    str(entry.version or ""),
                    str(entry.actor),
                    entry.hash[:16],
                )
                for entry in entries
            ),
        )
        export = self._server.directory / "audit.jsonl"
        self._run("audit", "export", "--to", export.name)
        self._run("audit", "verify", export.name)
        self._tamper(export)

    def _tamper(self, export: Path) -> None:
        lines = export.read_text(encoding="utf-8").splitlines()
        forged = [line.replace("more accurate", "less accurate") for line in lines]
        report = verify_export(forged)
        if report.ok:
            raise RegistryError("an edited audit log was taken for an intact one")
        for damage in report.damage:
            self._screen.say(
                f"With one word of it edited: entry {damage.n} is damaged: "
                f"{damage.kind}."
            )

    def _run(self, *arguments: str, ends_with: int = 0) -> None:
        self._screen.command(arguments)
        ended = self._server.run(arguments)
        self._screen.say(ended.stdout.strip())
        if ended.returncode != ends_with:
            raise RegistryError(f"that ended with {ended.returncode}, not {ends_with}")


def _described(candidate: Candidate, commit: str | None) -> list[str]:
    facts = [
        candidate.directory.name,
        "--description",
        candidate.description,
        "--dataset",
        DATASET,
    ]
    for name, param in candidate.params.items():
        facts += ["--param", f"{name}={param}"]
    for name, metric in candidate.metrics.items():
        facts += ["--metric", f"{name}={json.dumps(metric)}"]
    return facts + (["--git-commit", commit] if commit else [])
