"""What each platform makes of a delivery and an example: a script to run, or nothing.

Only what the examples use of a platform is here, and it is strict: a field that the
delivery does not have is a KeyError, not an empty text.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from tests.integration.examples import places
from tests.receiver import ReceivedRequest

SHARED_SECRET = "a secret that both ends know"
EXPRESSION = re.compile(r"\$\{\{ ([\w.]+) \}\}")


@dataclass
class Run:
    """A script and its environment; ``event_file`` is what GitHub puts on disk."""

    script: str
    environment: dict[str, str]
    event_file: str = ""
    manifest: dict[str, Any] = field(default_factory=dict)


Platform = Callable[[ReceivedRequest, Mapping[str, str]], Run | None]


def find(document: Any, path: str) -> Any:  # noqa: ANN401  # Any JSON value.
    """Follow a dotted path strictly."""
    for name in path.split("."):
        document = document[int(name) if isinstance(document, list) else name]
    return document


def text(value: Any) -> str:  # noqa: ANN401  # as above
    assert value is not None
    return value if isinstance(value, str) else json.dumps(value)


def github(request: ReceivedRequest, client: Mapping[str, str]) -> Run | None:
    assert request.headers["authorization"] == f"Bearer {SHARED_SECRET}"
    workflow = places.documents(places.GITHUB)[0]
    event = request.json()
    # YAML 1.1 reads the key "on" as true.
    if event["event_type"] not in workflow[True]["repository_dispatch"]["types"]:
        return None
    assert set(event) == {"event_type", "client_payload"}
    context = {
        "github": {
            "event": event,
            "server_url": "https://github.example",
            "repository": "acme/models",
            "run_id": 5,
        },
        "vars": {"STAGEGATE_URL": client["url"]},
        "secrets": {"STAGEGATE_TOKEN": client["token"]},
    }
    job = places.github_job()
    steps = [step for step in job["steps"] if "run" in step]
    environment = {**job["env"], **steps[-1]["env"]}
    for name, value in environment.items():
        environment[name] = EXPRESSION.sub(
            lambda found: text(find(context, found[1])), value
        )
    assert EXPRESSION.sub("", workflow["run-name"]).split() == ["Deploy"]
    # Each step is a shell of its own that begins with what GITHUB_ENV has.
    for number, step in enumerate(steps):
        environment[f"STEP_{number}"] = step["run"]
    script = "\n".join(
        f'set -a; . "$GITHUB_ENV"; set +a; bash -e -c "$STEP_{number}" || exit $?'
        for number in range(len(steps))
    )
    return Run(script, environment, event_file=json.dumps(event))


def gitlab(request: ReceivedRequest, client: Mapping[str, str]) -> Run | None:
    form = dict(parse_qsl(request.body.decode(), keep_blank_values=True))
    assert form.pop("token") == SHARED_SECRET
    assert form.pop("ref") == "main"
    variables = {
        re.fullmatch(r"variables\[(\w+)\]", name)[1]: value  # type: ignore[index]
        for name, value in form.items()
    }
    known = variables | {"CI_PIPELINE_SOURCE": "trigger"}
    jobs = [
        job
        for job in places.documents(places.GITLAB)[0].values()
        if any(_holds_in_gitlab(rule["if"], known) for rule in job["rules"])
    ]
    if not jobs:
        return None
    (job,) = jobs
    script = "\n".join([*job.get("before_script", ()), *job["script"]])
    return Run(
        script,
        {
            **variables,
            "CI_JOB_URL": "https://gitlab.example/acme/models/-/jobs/5",
            "STAGEGATE_URL": client["url"],
            "STAGEGATE_TOKEN": client["token"],
        },
    )


def _holds_in_gitlab(rule: str, variables: Mapping[str, str]) -> bool:
    terms = [re.fullmatch(r'\$(\w+) == "([^"]*)"', one) for one in rule.split(" && ")]
    assert None not in terms, rule
    return all(variables[term[1]] == term[2] for term in terms if term)


def jenkins(request: ReceivedRequest, client: Mapping[str, str]) -> Run | None:
    assert request.headers["token"] == SHARED_SECRET
    if request.headers.get("gwt-dry-run") == "true":
        return None
    source = places.JENKINS.read_text("utf-8")
    body = request.json()
    variables = {
        key: text(find(body, path))
        for key, path in re.findall(r"\[key: '(\w+)', value: '\$\.([\w.]+)'\]", source)
    }
    filter_text, expression = (
        re.search(rf"regexpFilter{part}: '(.*)'", source)[1]  # type: ignore[index]
        for part in ("Text", "Expression")
    )
    rendered = re.sub(r"\$(\w+)", lambda found: variables[found[1]], filter_text)
    if not re.search(expression.replace("\\\\", "\\"), rendered):
        return None
    return Run(
        places.jenkins_script(),
        {
            **variables,
            "BUILD_URL": "https://jenkins.example/job/deploy/5/",
            "STAGEGATE_URL": client["url"],
            "STAGEGATE_TOKEN": client["token"],
        },
    )


def argo(request: ReceivedRequest, client: Mapping[str, str]) -> Run | None:
    assert request.headers["authorization"] == f"Bearer {SHARED_SECRET}"
    data = {"header": _go_headers(request), "body": request.json()}
    sensor = places.document(places.ARGO, "Sensor")["spec"]
    (dependency,) = sensor["dependencies"]
    for one in dependency["filters"]["data"]:
        if text(find(data, one["path"])) not in one["value"]:
            return None
    job = deepcopy(places.argo_job())
    for parameter in places.argo_parameters():
        source = parameter["src"]
        assert source["dependencyName"] == dependency["name"]
        _put(job, parameter, _argo_value(source, data))
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return Run(
        container["command"][-1],
        _pod_environment(container["env"], client),
        manifest=job,
    )


def _argo_value(source: Mapping[str, str], data: Mapping[str, Any]) -> str:
    if "dataKey" in source:
        return text(find(data, source["dataKey"]))
    template = re.fullmatch(
        r'\{\{ \.Input\.([\w.]+) \| replace "(.)" "(.)" \}\}', source["dataTemplate"]
    )
    assert template is not None
    return text(find(data, template[1])).replace(template[2], template[3])


def _put(document: Any, parameter: Mapping[str, Any], value: str) -> None:  # noqa: ANN401  # as above
    path, _, name = parameter["dest"].rpartition(".")
    place = find(document, path)
    is_appended = parameter.get("operation") == "append"
    place[name] = place[name] + value if is_appended else value


def tekton(request: ReceivedRequest, client: Mapping[str, str]) -> Run | None:
    signature = hmac.new(SHARED_SECRET.encode(), request.body, hashlib.sha256)
    assert request.headers["x-hub-signature-256"] == f"sha256={signature.hexdigest()}"
    (trigger,) = places.document(places.TEKTON, "EventListener")["spec"]["triggers"]
    cel = {one["name"]: one["value"] for one in trigger["interceptors"][1]["params"]}
    data: dict[str, Any] = {"body": request.json(), "extensions": {}}
    data["header"] = {name: values[0] for name, values in _go_headers(request).items()}
    if not all(_holds_in_cel(term, data) for term in cel["filter"].split(" && ")):
        return None
    for overlay in cel["overlays"]:
        data["extensions"][overlay["key"]] = _cel_value(overlay["expression"], data)
    binding = places.document(places.TEKTON, "TriggerBinding")["spec"]["params"]
    values = {
        one["name"]: text(find(data, re.fullmatch(r"\$\((.*)\)", one["value"])[1]))  # type: ignore[index]
        for one in binding
    }
    declared = places.document(places.TEKTON, "TriggerTemplate")["spec"]["params"]
    assert [one["name"] for one in declared] == list(values)
    filled = re.sub(
        r"\$\(tt\.params\.([\w-]+)\)",
        lambda found: json.dumps(values[found[1]])[1:-1],
        json.dumps(places.tekton_run()),
    )
    run = json.loads(filled)
    (step,) = run["spec"]["taskSpec"]["steps"]
    environment = _pod_environment(step["env"], client)
    return Run(step["script"], environment, manifest=run)


def _holds_in_cel(term: str, data: Mapping[str, Any]) -> bool:
    match = re.fullmatch(r"([\w.]+) == '([^']*)'", term)
    assert match is not None, term
    return bool(find(data, match[1]) == match[2])


def _cel_value(expression: str, data: Mapping[str, Any]) -> str:
    match = re.fullmatch(r"([\w.]+)\.translate\('(.)', '(.)'\)", expression)
    assert match is not None, expression
    return text(find(data, match[1])).replace(match[2], match[3])


def _go_headers(request: ReceivedRequest) -> dict[str, list[str]]:
    """Headers as Go has them: canonical names, lists of values."""
    return {name.title(): [value] for name, value in request.headers.items()}


def _pod_environment(
    entries: list[dict[str, Any]], client: Mapping[str, str]
) -> dict[str, str]:
    environment = {}
    for entry in entries:
        if "value" in entry:
            environment[entry["name"]] = entry["value"]
        else:
            reference = entry["valueFrom"]["secretKeyRef"]
            assert reference["name"] == "stagegate-client"
            environment[entry["name"]] = client[reference["key"]]
    return environment
