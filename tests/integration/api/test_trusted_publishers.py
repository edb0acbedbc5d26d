"""Trusted publishers: made, shown, deleted, and held against the audit log."""

import json

import pytest
from sqlalchemy import text

from tests import ci_jobs
from tests.integration.api.driver import (
    ON_BOTH_DATABASES,
    Document,
    Driver,
    document_of,
    problem_of,
)

PATH = "/trusted-publishers"
CLUSTER = "https://cluster.example.com"


def body(provider: str = "kubernetes", **members: object) -> Document:
    return {**ci_jobs.publisher(provider, CLUSTER), **members}


def made(api: Driver, **members: object) -> Document:
    answer = api.post(PATH, body(**members))  # type: ignore[arg-type]
    assert answer.status_code == 201, answer.get_data(as_text=True)
    return document_of(answer)


@ON_BOTH_DATABASES
def test_publisher_is_made_shown_recorded_and_deleted(api: Driver) -> None:
    one = made(api)
    other = made(
        api, name="scoring", claims={"namespace": "ml", "service_account": "s"}
    )

    assert one.items() >= body().items()
    assert api.read(f"{PATH}/{one['id']}") == one
    listed = api.read(f"{PATH}?limit=1")
    following = api.read(f"{PATH}?cursor={listed['next_cursor']}")
    items = [*listed["items"], *following["items"]]
    assert sorted(map(json.dumps, items)) == sorted(map(json.dumps, [one, other]))
    assert api.delete(f"{PATH}/{one['id']}").status_code == 204
    problem_of(api.delete(f"{PATH}/{one['id']}"), 404, "not-found")
    problem_of(api.get(f"{PATH}/{one['id']}"), 404, "not-found")
    entries = [e for e in api.audit() if e["action"].startswith("publisher.")]
    assert [(e["action"], e["before"], e["after"]) for e in entries] == [
        ("publisher.created", None, one),
        ("publisher.created", None, other),
        ("publisher.deleted", one, None),
    ]
    assert api.read("/audit/verify")["ok"]


@pytest.mark.parametrize(
    ("provider", "issuer"),
    [
        ("github", "https://token.actions.githubusercontent.com"),
        ("gitlab", "https://gitlab.com"),
    ],
)
def test_public_platforms_have_their_own_issuer(
    api: Driver, provider: str, issuer: str
) -> None:
    said = body(provider)
    del said["issuer"]

    assert document_of(api.post(PATH, said))["issuer"] == issuer


GITHUB, ACCOUNT = ci_jobs.ASKED["github"], ci_jobs.ASKED["kubernetes"]
NONSENSE: dict[str, tuple[Document, str]] = {
    "no provider": (body(provider="jenkins"), "provider"),
    "admin": (body(role="admin"), "role"),
    "approver": (body(role="approver"), "role"),
    "break-glass": (body(role="break-glass"), "role"),
    "viewer": (body(role="viewer"), "role"),
    "pattern with brackets": (body(models="[a]"), "models"),
    "no issuer": (body(issuer=""), "issuer"),
    "issuer in clear": (body(issuer="http://cluster.example.com"), "issuer"),
    "issuer that is none": (body(issuer="cluster"), "issuer"),
    "name with a slash": (body(name="a/b"), "name"),
    "no claims": (body(claims={}), "claims.namespace"),
    "claims no object": (body(claims=["a"]), "claims"),
    "claim no text": (body(claims={**ACCOUNT, "uid": 7}), "claims"),
    "another's claim": (body(claims={**ACCOUNT, "ref": "refs/x"}), "claims.ref"),
    "pattern for a name": (body(claims={**ACCOUNT, "namespace": "*"}), "namespace"),
    "uid that is none": (body(claims={**ACCOUNT, "uid": "x"}), "claims.uid"),
    **{
        f"github without {name}": (
            body("github", claims={k: v for k, v in GITHUB.items() if k != name}),
            f"claims.{name}",
        )
        for name in GITHUB
    },
    **{
        f"github with {name} {value}": (
            body("github", claims={**GITHUB, name: value}),
            f"claims.{name}",
        )
        for name, value in {
            "repository": "acme",
            "repository_owner_id": "acme",
            "repository_id": "-1",
            "workflow": "../train.yml",
            "environment": "a\tb",
            "ref": "main",
        }.items()
    },
    "gitlab without project": (body("gitlab", claims={}), "claims.project_id"),
    "gitlab with a path": (
        body("gitlab", claims={"project_id": "acme/fraud"}),
        "claims.project_id",
    ),
    "gitlab with a branch": (
        body("gitlab", claims={"project_id": "1", "ref": "main"}),
        "claims.ref",
    ),
    "gitlab with a file elsewhere": (
        body("gitlab", claims={"project_id": "1", "config": "x.yml@acme/other"}),
        "claims.config",
    ),
}


@pytest.mark.parametrize(("said", "field"), NONSENSE.values(), ids=NONSENSE)
def test_publisher_of_no_sense_is_refused(
    api: Driver, said: Document, field: str
) -> None:
    problem = problem_of(api.post(PATH, said), 422, "invalid")

    assert field in json.dumps(problem["errors"])
    assert api.read(PATH)["items"] == []


def test_second_publisher_of_a_kind_is_refused(api: Driver) -> None:
    first = made(api)
    for second, why in (
        (body(claims={"namespace": "x", "service_account": "y"}), "there is"),
        (body(name="other"), "asks the same"),
        (body("github", name="other"), "signs for kubernetes"),
    ):
        problem = problem_of(api.post(PATH, second), 409, "conflict")
        assert why in problem["detail"]

    assert api.read(PATH)["items"] == [first]
    made(api, name="elsewhere", issuer="https://other.example.com")


COPY = (
    "INSERT INTO trusted_publishers SELECT 'x', provider, 'x', issuer, place,"
    " role, models, claims, created_at, created_by FROM trusted_publishers"
)


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        ("UPDATE trusted_publishers SET role = 'reader'", "its role is promoter"),
        ("UPDATE trusted_publishers SET models = '*'", "its models is fraud*"),
        ("UPDATE trusted_publishers SET claims = '{}'", "its claims is {"),
        ("DELETE FROM trusted_publishers", "by the log it is there"),
        (COPY, "trusted publisher x (x): by trusted_publishers it is there"),
    ],
)
def test_edited_publisher_is_found(api: Driver, edit: str, told: str) -> None:
    made(api)
    with api.engine.begin() as connection:
        connection.execute(text(edit))

    (damage,) = api.read("/audit/verify")["damage"]
    assert told in damage["message"]
