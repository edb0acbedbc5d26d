"""A server with something of everything, for schemathesis to work on."""

import hashlib
from dataclasses import dataclass

import requests

from tests.server import RunningServer

ANSWER_SECONDS = 30.0
MODELS = ("digits", "iris", "wine")
# The file that the examples in the document speak of.
FILE_PATH = "model/model.pkl"
FILE = b"test"
PENDING = 8


@dataclass(frozen=True)
class Seeder:
    """Makes what a run starts from, over HTTP."""

    session: requests.Session
    url: str

    def post(self, path: str, body: object) -> dict[str, object]:
        """Send a change that must succeed."""
        answer = self.session.post(self.url + path, json=body, timeout=ANSWER_SECONDS)
        answer.raise_for_status()
        document: dict[str, object] = answer.json()
        return document

    def put(self, path: str, content: bytes) -> None:
        """Upload a file."""
        answer = self.session.put(self.url + path, content, timeout=ANSWER_SECONDS)
        answer.raise_for_status()

    def make_model(self, name: str) -> None:
        """A model with versions in every stage, pending ones, and an alias."""
        self.post("/models", {"name": name, "tags": {"team": "vision"}})
        for _ in range(4):
            self.register(name)
        for number in (1, 2):
            self.move(name, number, "Staging")
            self.move(name, number, "Production")
        self.move(name, 3, "Staging")
        self.session.put(
            f"{self.url}/models/{name}/aliases/champion",
            json={"version": 1},
            timeout=ANSWER_SECONDS,
        ).raise_for_status()
        for _ in range(PENDING):
            self.register(name, is_complete=False)

    def register(self, name: str, *, is_complete: bool = True) -> None:
        """A version with a file of its own, or one that still waits for more."""
        version = self.post(f"/models/{name}/versions", {"metrics": {"accuracy": 0.9}})
        path = f"/models/{name}/versions/{version['version']}"
        self.put(f"{path}/artifacts/{FILE_PATH}", FILE)
        digest = hashlib.sha256(FILE).hexdigest()
        file = {"path": FILE_PATH, "size_bytes": len(FILE), "sha256": digest}
        if is_complete:
            self.post(f"{path}/finalize", {"files": [file]})

    def move(self, name: str, number: int, stage: str) -> None:
        """Move a version."""
        path = f"/models/{name}/versions/{number}/transitions"
        self.post(path, {"to_stage": stage})


def seed(server: RunningServer) -> None:
    """Fill an empty server."""
    seeder = Seeder(server.http(), f"{server.url}/api/v1")
    for number in (1, 2):
        seeder.post("/webhooks", {"url": f"https://h{number}.invalid/hook"})
    for name in MODELS:
        seeder.make_model(name)
    for role in ("viewer", "writer", "promoter"):
        seeder.post("/tokens", {"name": role, "role": role})


def token_of_role(server: RunningServer, role: str) -> tuple[str, str]:
    """A token of a role, and its id."""
    seeder = Seeder(server.http(), f"{server.url}/api/v1")
    made = seeder.post("/tokens", {"name": f"fuzz-{role}", "role": role})
    return str(made["token"]), str(made["id"])
