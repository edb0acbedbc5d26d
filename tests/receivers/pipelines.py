"""GitHub, GitLab and Jenkins, as far as their contracts are documented.

Each is an ``answers`` function for ``tests.receiver.Receiver``. What they would start
is in ``started``. Sources: GitHub REST API 2022-11-28; GitLab, "Pipeline trigger
tokens API"; Jenkins, "Remote access API"; the Generic Webhook Trigger plugin and its
issue 219; execve(2), "Limits on size of arguments and environment".
"""

import base64
import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.receiver import Answer, ReceivedRequest

MAX_PAYLOAD_CHARACTERS = 65_535
MAX_INPUTS = 25
#: What Linux takes as one variable of a job's environment: ``NAME=value`` and a NUL.
MAX_VARIABLE_BYTES = 128 * 1024
MAX_FORM_BYTES = 200_000


def _json(status: int, document: object) -> Answer:
    return Answer(
        status, {"Content-Type": "application/json"}, json.dumps(document).encode()
    )


def _form(request: ReceivedRequest) -> dict[str, str]:
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    parsed = parse_qs(
        request.body.decode("ascii"), keep_blank_values=True, strict_parsing=True
    )
    assert all(len(values) == 1 for values in parsed.values())
    return {name: values[0] for name, values in parsed.items()}


@dataclass
class GitHub:
    """One repository ``o/r`` with one workflow, ``deploy.yml``."""

    token: str
    may_write: bool = True
    declared_inputs: frozenset[str] = frozenset()
    knows_run_details: bool = True
    started: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, request: ReceivedRequest) -> Answer:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return _json(401, {"message": "Bad credentials"})
        path = urlsplit(request.path).path
        if not self.may_write:
            return _json(404, {"message": "Not Found"})
        try:
            document = json.loads(request.body)
        except ValueError:
            return _json(400, {"message": "Problems parsing JSON"})
        if path == "/repos/o/r/dispatches":
            return self._repository_dispatch(document)
        if path == "/repos/o/r/actions/workflows/deploy.yml/dispatches":
            return self._workflow_dispatch(document)
        return _json(404, {"message": "Not Found"})

    def _repository_dispatch(self, document: dict[str, Any]) -> Answer:
        event_type = document.get("event_type")
        payload = document.get("client_payload", {})
        if not isinstance(event_type, str) or not 0 < len(event_type) <= 100:
            return _invalid("event_type is too long (maximum is 100 characters)")
        if set(document) > {"event_type", "client_payload"}:
            return _invalid("is not a permitted key")
        if len(payload) > 10:
            return _invalid("No more than 10 properties are allowed")
        if _characters(payload) > MAX_PAYLOAD_CHARACTERS:
            return _invalid("client_payload is too large.")
        self.started.append(document)
        return Answer(204)

    def _workflow_dispatch(self, document: dict[str, Any]) -> Answer:
        inputs = document.get("inputs", {})
        ref, unexpected = document.get("ref"), set(inputs) - self.declared_inputs
        checks = (
            (ref in ("main", "v1"), f"No ref found for: {ref}"),
            (
                self.knows_run_details or "return_run_details" not in document,
                '"return_run_details" is not a permitted key',
            ),
            (not unexpected, f"Unexpected inputs provided: {sorted(unexpected)}"),
            (len(inputs) <= MAX_INPUTS, "you may only define up to 25 inputs"),
            (
                all(isinstance(value, str) for value in inputs.values()),
                "inputs must be strings",
            ),
            (_characters(inputs) <= MAX_PAYLOAD_CHARACTERS, "inputs are too large"),
        )
        for is_right, message in checks:
            if not is_right:
                return _invalid(message)
        self.started.append(document)
        if not document.get("return_run_details"):
            return Answer(204)
        run = len(self.started)
        return _json(
            200,
            {
                "workflow_run_id": run,
                "run_url": f"https://api.github.com/repos/o/r/actions/runs/{run}",
                "html_url": f"https://github.com/o/r/actions/runs/{run}",
            },
        )


def _characters(document: object) -> int:
    return len(json.dumps(document, ensure_ascii=False, separators=(",", ":")))


def _fits_an_environment(variables: dict[str, str]) -> bool:
    return all(
        len(f"{name}={value}".encode()) < MAX_VARIABLE_BYTES
        for name, value in variables.items()
    )


def _invalid(message: str) -> Answer:
    return _json(422, {"message": message})


@dataclass
class GitLab:
    """One project, 7, whose only branch is ``main``."""

    token: str
    started: list[dict[str, str]] = field(default_factory=list)

    def __call__(self, request: ReceivedRequest) -> Answer:
        parts = urlsplit(request.path)
        if parts.path != "/api/v4/projects/7/trigger/pipeline":
            return _json(404, {"message": "404 Project Not Found"})
        form = _form(request)
        if form.pop("token", "") != self.token:
            return _json(404, {"message": "404 Not Found"})
        ref = form.pop("ref", "")
        if not ref:
            return _json(400, {"error": "ref is missing"})
        if ref != "main":
            return _json(400, {"message": {"base": ["Reference not found"]}})
        return self._start(form)

    def _start(self, form: dict[str, str]) -> Answer:
        variables = {}
        for name, value in form.items():
            match = re.fullmatch(r"variables\[([A-Za-z_][A-Za-z0-9_]*)\]", name)
            if match is None:
                return _json(400, {"error": f"{name} is invalid"})
            variables[match[1]] = value
        if not _fits_an_environment(variables):
            return _json(400, {"error": "argument list too long"})
        self.started.append(variables)
        run = len(self.started)
        address = f"https://gitlab.example.com/g/p/-/pipelines/{run}"
        return _json(201, {"id": run, "ref": "main", "web_url": address})


@dataclass
class Jenkins:
    """A controller with the job ``deploy``; the plugin's job has the same token."""

    user: str
    token: str
    started: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, request: ReceivedRequest) -> Answer:
        path = urlsplit(request.path).path
        if path == "/generic-webhook-trigger/invoke":
            return self._generic(request)
        pair = base64.b64encode(f"{self.user}:{self.token}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {pair}":
            return Answer(403)
        if path != "/job/deploy/buildWithParameters":
            return Answer(404)
        parameters = _form(request)
        if len(request.body) > MAX_FORM_BYTES or not _fits_an_environment(parameters):
            return Answer(500, body=b"Form too large")
        self.started.append(parameters)
        item = f"https://jenkins.example.com/queue/item/{len(self.started)}/"
        return Answer(201, {"Location": item})

    def _generic(self, request: ReceivedRequest) -> Answer:
        query = parse_qs(urlsplit(request.path).query)
        given = request.headers.get("token") or query.get("token", [""])[0]
        if given != self.token:
            message = "Did not find any jobs with GenericTrigger configured!"
            return _json(404, {"jobs": None, "message": message})
        if request.headers.get("gwt-dry-run") == "true":
            job = {"triggered": False, "url": ""}
            return _json(200, {"jobs": {"deploy": job}, "message": "Dry run."})
        if not _fits_an_environment({"all": request.body.decode()}):
            return _json(500, {"message": "error=7, Argument list too long"})
        self.started.append(json.loads(request.body))
        job = {"triggered": True, "url": f"queue/item/{len(self.started)}/"}
        other = {"triggered": False, "url": ""}
        jobs = {"deploy": job, "other": other}
        return _json(200, {"jobs": jobs, "message": "Triggered jobs."})
