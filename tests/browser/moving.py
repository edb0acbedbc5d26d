"""A registry whose moves have gates, with versions that are on their way."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from registry.settings import packaged_config
from tests.browser.conftest import Site
from tests.server import running_server

#: ``gated-…`` models are brought into Production by a metric, a check and an approval.
GATES = """
[[override]]
models = "gated-*"
[[override.moves]]
from = "None"
to = "Production"
via = "promotion"
metrics = { auc = { min = 0.9 } }
checks = ["tests"]
approvals = 1
[[override.moves]]
from = "Archived"
to = "Production"
via = "rollback"
"""
_names = itertools.count(1)


@contextmanager
def site_with_gates(directory: Path) -> Iterator[Site]:
    """A server with that policy."""
    policy = directory / "policy.toml"
    policy.write_text(packaged_config("policy.toml").read_text() + GATES)
    with (
        running_server(directory, POLICY_FILE=str(policy)) as server,
        server.client() as client,
    ):
        yield Site(server, client)


def call(site: Site, method: str, path: str, role: str = "", **body: Any) -> Any:  # noqa: ANN401  # JSON
    """Ask the API, as admin or as somebody with a role."""
    session = site.server.http()
    if role:
        session.headers["Authorization"] = f"Bearer {site.token(role)}"
    address = f"{site.server.url}/api/v1{path}"
    answer = session.request(method, address, json=body or None)
    assert answer.status_code < 300, answer.text
    return answer.json()


def model(site: Site, *aucs: float, prefix: str = "churn", **tags: str) -> str:
    """A model of its own, with a version for each value of its metric."""
    name = f"{prefix}-{next(_names)}"
    call(site, "POST", "/models", name=name, tags=tags)
    for auc in aucs:
        call(
            site,
            "POST",
            f"/models/{name}/versions",
            source="s3://elsewhere/churn",
            metrics={"auc": auc, "rows": 1000},
            params={"depth": str(round(auc * 10)), "seed": "7"},
        )
    return name


def moved(site: Site, name: str, number: int, *stages: str, **body: Any) -> None:  # noqa: ANN401  # as above
    """Bring a version through stages."""
    for stage in stages:
        path = f"/models/{name}/versions/{number}/transitions"
        call(site, "POST", path, to_stage=stage, **body)


def served(site: Site, *aucs: float) -> str:
    """A model whose first version is in Production, and the others in Staging."""
    name = model(site, *aucs)
    for number in range(1, len(aucs) + 1):
        moved(site, name, number, "Staging")
    moved(site, name, 1, "Production", reason="the first one")
    return name


def stage_of(site: Site, name: str, number: int) -> str:
    """Where a version is."""
    stage: str = call(site, "GET", f"/models/{name}/versions/{number}")["stage"]
    return stage
