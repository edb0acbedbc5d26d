"""What the audit log keeps of a CI job, out of what its platform signed.

Rules:

- The names are the same for every platform; what it does not say is left out.
- Texts are bounded: they are in the entry of each thing that the job does.
- The person behind the job is named as the platform knows them (``server#id``), which
  is who they are here, too, where people sign in at the same server.
"""

import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from registry.domain.publishers import Claims, JobProvider

MAX_CHARACTERS = 300
_TOLD: Mapping[JobProvider, Mapping[str, str]] = {
    JobProvider.GITHUB: {
        "repository": "repository",
        "ref": "ref",
        "sha": "sha",
        "run_id": "run_id",
        "workflow": "job_workflow_ref",
        "environment": "environment",
        "actor": "actor",
        "actor_id": "actor_id",
    },
    JobProvider.GITLAB: {
        "project": "project_path",
        "ref": "ref_path",
        "sha": "sha",
        "run_id": "pipeline_id",
        "workflow": "ci_config_ref_uri",
        "environment": "environment",
        "actor": "user_login",
        "actor_id": "user_id",
    },
    JobProvider.KUBERNETES: {"project": "namespace", "actor": "sub", "pod": "pod"},
}


def on_behalf_of(
    provider: JobProvider, claims: Claims, *, jti_sha256: str
) -> dict[str, str]:
    """Return for whom a job acts, as its claims say."""
    told = {name: claims.get(claim, "") for name, claim in _TOLD[provider].items()}
    server = _server(provider, claims["iss"])
    found = {
        "provider": provider.value,
        "issuer": claims["iss"],
        **told,
        "run_url": _run_url(provider, server, claims),
        "human": f"{server}#{told['actor_id']}" if told.get("actor_id") else "",
        "jti_sha256": jti_sha256,
    }
    return {
        name: "".join(c if c.isprintable() else " " for c in text)[:MAX_CHARACTERS]
        for name, text in found.items()
        if text
    }


def jti_sha256(token: str, claims: Mapping[str, Any]) -> str:
    """Return what a token is told from all others of its issuer by.

    One without an id is told by what was signed: a signature can be written in
    several ways.
    """
    jti = claims.get("jti")
    text = jti if isinstance(jti, str) and jti else token.rpartition(".")[0]
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _server(provider: JobProvider, issuer: str) -> str:
    """Return where people see what the issuer signs for."""
    if provider is not JobProvider.GITHUB:
        return issuer
    host = urlsplit(issuer).netloc.removeprefix("token.actions.")
    is_public = host == "githubusercontent.com"
    return f"https://{'github.com' if is_public else host}"


def _run_url(provider: JobProvider, server: str, claims: Claims) -> str:
    match provider:
        case JobProvider.GITHUB if "run_id" in claims:
            repository, run = claims.get("repository", ""), claims["run_id"]
            attempt = claims.get("run_attempt", "1")
            return f"{server}/{repository}/actions/runs/{run}/attempts/{attempt}"
        case JobProvider.GITLAB if "job_id" in claims:
            project = claims.get("project_path", "")
            return f"{server.rstrip('/')}/{project}/-/jobs/{claims['job_id']}"
    return ""
