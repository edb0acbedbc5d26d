"""What a case is given: MLflow's client, plain HTTP, and models of its own.

- The client is MLflow's, unmodified; this module is told which, so that it can be
  loaded where MLflow is not.
- Every name comes from ``name()``: cases share a server and never meet.
- ``is_strict`` worlds have the default policy: None → Staging → Production →
  Archived. The open policy and MLflow's own server allow any move.
"""

import itertools
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import requests

from tests.mlflow.conformance.receiving import Endpoint

# MLflow's ModelVersion; it has no types where this is checked.
Version = Any
SOURCE = "s3://elsewhere/model"
PREFIX = "/api/2.0/mlflow"
RETRIED = {408, 429}  # beside 5xx
ANSWER_SECONDS = 60.0
STAGES = ("None", "Staging", "Production", "Archived")
WAYS = {
    "None": (),
    "Staging": ("Staging",),
    "Production": ("Staging", "Production"),
    "Archived": ("Staging", "Archived"),
}
STRICT_MOVES = {
    ("None", "Staging"),
    ("Staging", "Production"),
    ("Staging", "Archived"),
    ("Production", "Archived"),
}


@dataclass(frozen=True)
class Answer:
    """A plain HTTP answer; ``body`` is None when it is not a JSON object."""

    status: int
    body: dict[str, Any] | None
    text: str
    content_type: str

    @property
    def document(self) -> dict[str, Any]:
        """The body of an answer that went well."""
        assert self.status == 200, self
        assert self.body is not None, self
        return self.body

    def succeeds(self) -> None:
        """Check that it went well, whatever it says."""
        assert self.status == 200, self

    def refuses(self, status: int, code: str, *words: str) -> None:
        """Check that this is MLflow's shape of an error."""
        assert (self.status, self.code) == (status, code), self
        for word in words:
            assert word in self.message, (word, self.message)

    @property
    def code(self) -> str | None:
        return (self.body or {}).get("error_code")

    @property
    def message(self) -> str:
        return str((self.body or {}).get("message", ""))


def is_sent_again(status: int) -> bool:
    """Whether the client sends a request again that was answered so."""
    return status >= 500 or status in RETRIED


@dataclass(frozen=True)
class Exchange:
    """A request that went over the wire, from MLflow's client or from a case."""

    method: str
    path: str
    query: str
    body: str
    status: int
    answer: str


@dataclass(kw_only=True)
class World:
    """One server under test, as a case sees it."""

    url: str
    token: str
    is_mlflow: bool
    is_strict: bool
    client: Any  # MlflowClient; has no types where this is checked
    errors: type[Exception]  # MlflowException
    module: Any  # mlflow itself
    endpoint: Endpoint  # told of what happens, where the server may reach it
    exchanges: list[Exchange] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def name(self, text: str = "model") -> str:
        """A name that nobody has; it starts with letters and digits."""
        return f"c{uuid.uuid4().hex[:12]}{next(self.numbers)}-{text}"

    def model(self, text: str = "model", **fields: object) -> str:
        """The name of a new registered model."""
        name = self.name(text)
        self.client.create_registered_model(name, **fields)
        return name

    def version(self, name: str | None = None, **fields: object) -> Version:
        """A new version, of a new model unless one is named."""
        own = {"name": name or self.model(), "source": SOURCE, **fields}
        return self.client.create_model_version(**own)

    def bring(self, version: Version, stage: str) -> Version:
        """The new version, moved to a stage along moves that any policy allows."""
        for step in WAYS[stage]:
            version = self.move(version, step)
        return version

    def move(self, version: Version, stage: str, **fields: object) -> Version:
        """What MLflow's client answers to a move."""
        return self.client.transition_model_version_stage(
            version.name, version.version, stage, **fields
        )

    def allows(self, from_stage: str, to_stage: str) -> bool:
        """Whether this world's policy lets a version move so."""
        is_move = from_stage != to_stage
        return not (
            self.is_strict and is_move and (from_stage, to_stage) not in STRICT_MOVES
        )

    def stage_of(self, version: Version) -> str:
        """The stage that the version has now."""
        found = self.client.get_model_version(version.name, version.version)
        stage: str = found.current_stage
        return stage

    def refused(self, code: str, call: Callable[..., Any], *args: object) -> str:
        """The message of the error that the client raises with this code."""
        try:
            found = call(*args)
        except self.errors as raised:
            error: Any = raised  # has no types here
        else:
            raise AssertionError(f"expected {code}, was given {found!r}")
        assert error.error_code == code, error
        return str(error)

    @contextmanager
    def watched(self) -> Iterator[list[str]]:
        """Collect ``METHOD path`` of the requests sent in the block."""
        seen: list[str] = []
        before = len(self.exchanges)
        yield seen
        seen.extend(
            f"{exchange.method} {exchange.path.removeprefix(PREFIX)}"
            for exchange in self.exchanges[before:]
        )

    def get(self, path: str, **query: object) -> Answer:
        return self.send("GET", path, params=query)

    def post(self, path: str, body: object = None) -> Answer:
        return self.send("POST", path, json={} if body is None else body)

    def patch(self, path: str, body: object) -> Answer:
        return self.send("PATCH", path, json=body)

    def delete(self, path: str, body: object) -> Answer:
        return self.send("DELETE", path, json=body)

    def send(
        self,
        method: str,
        path: str,
        *,
        prefix: str = PREFIX,
        **request: Any,  # noqa: ANN401  # handed to requests as they are
    ) -> Answer:
        """Send a request of any kind, signed in unless ``headers`` says otherwise."""
        headers = {"Authorization": f"Bearer {self.token}"}
        headers |= request.pop("headers", {})
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(
                method,
                f"{self.url}{prefix}{path}",
                headers={name: value for name, value in headers.items() if value},
                timeout=ANSWER_SECONDS,
                **request,
            )
        return _read(answer)


def _read(answer: requests.Response) -> Answer:
    try:
        body = answer.json()
    except ValueError:
        body = None
    return Answer(
        status=answer.status_code,
        body=body if isinstance(body, dict) else None,
        text=answer.text,
        content_type=answer.headers.get("Content-Type", ""),
    )
