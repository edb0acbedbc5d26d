"""What CI platforms sign of a job, and the publishers that it is trusted as."""

from typing import Any

Claims = dict[str, Any]

REPOSITORY = "Acme/Fraud"
GITHUB: Claims = {
    "sub": "repo:Acme/Fraud:environment:registry",
    "repository": REPOSITORY,
    "repository_id": "4711",
    "repository_owner": "Acme",
    "repository_owner_id": "583231",
    "job_workflow_ref": "Acme/Fraud/.github/workflows/train.yml@refs/heads/main",
    "workflow": "Train",
    "ref": "refs/heads/main",
    "ref_protected": "true",
    "sha": "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    "event_name": "push",
    "environment": "registry",
    "run_id": "1658821493",
    "run_number": "10",
    "run_attempt": "2",
    "actor": "octocat",
    "actor_id": "1",
}
GITLAB: Claims = {
    "sub": "project_path:acme/fraud:ref_type:branch:ref:main",
    "namespace_id": "72",
    "namespace_path": "acme",
    "project_id": "20",
    "project_path": "acme/fraud",
    "user_id": "1",
    "user_login": "sample-user",
    "pipeline_id": "574",
    "pipeline_source": "push",
    "job_id": "302",
    "ref": "main",
    "ref_type": "branch",
    "ref_path": "refs/heads/main",
    "ref_protected": "true",
    "environment": "registry",
    "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
}
KUBERNETES: Claims = {
    "sub": "system:serviceaccount:ml:training",
    "kubernetes.io": {
        "namespace": "ml",
        "serviceaccount": {
            "name": "training",
            "uid": "14ee3fa4-a7e2-420f-9f9a-dbc4507c3798",
        },
        "pod": {"name": "train-7x2", "uid": "5e0bd49b-f040-43b0-99b7-22765a53f7f3"},
        "node": {"name": "node-1"},
    },
}
ASKED: dict[str, dict[str, str]] = {
    "github": {
        "repository": "acme/fraud",
        "repository_owner_id": "583231",
        "workflow": "train.yml",
    },
    "gitlab": {"project_id": "20"},
    "kubernetes": {"namespace": "ml", "service_account": "training"},
}


def claims_of(provider: str, issuer: str) -> Claims:
    """The claims that a job of the publisher has, beside issuer, audience and times."""
    if provider == "github":
        return dict(GITHUB)
    if provider == "kubernetes":
        return dict(KUBERNETES)
    server = issuer.partition("://")[2]
    file = f"{server}/acme/fraud//.gitlab-ci.yml@refs/heads/main"
    return {**GITLAB, "ci_config_ref_uri": file}


def publisher(provider: str, issuer: str, **members: object) -> Claims:
    """The body that makes the publisher."""
    return {
        "provider": provider,
        "name": "training",
        "issuer": issuer,
        "claims": ASKED.get(provider, {}),
        "role": "promoter",
        "models": "fraud*",
        **members,
    }
