"""Roles of people and groups: granted, read by sign-in, revoked."""

import json
import threading

import pytest
from sqlalchemy import text

from registry.domain.roles import Grant, Role
from registry.services.roles import MAX_SUBJECT_CHARACTERS, grants_of
from tests.integration.api.driver import (
    ON_BOTH_DATABASES,
    Document,
    Driver,
    document_of,
    problem_of,
)
from tests.integration.statements import statements_of

ANN = "https://idp.example.com#7f3a"
COPY = (
    "INSERT INTO role_bindings SELECT 'x', subject_kind, subject, 'admin', models,"
    " created_at, created_by FROM role_bindings"
)
LEADS = {"subject_kind": "group", "subject": "leads", "role": "promoter"}


def granted(api: Driver, **members: str) -> Document:
    answer = api.post("/role-bindings", {**LEADS, **members})
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return document_of(answer)


@ON_BOTH_DATABASES
def test_person_has_the_roles_of_their_own_and_of_their_groups(api: Driver) -> None:
    granted(api, subject_kind="user", subject=ANN, role="reader", models="churn-*")
    granted(api, models="fraud-*")
    granted(api, subject="ops", role="auditor")
    granted(api, subject="others", role="admin")
    granted(api, subject_kind="user", subject="leads", role="admin")
    granted(api, subject=ANN, role="admin")

    with api.engine.connect() as cx, statements_of(api.app) as seen:
        grants = grants_of(cx, ANN, ["leads", "ops", "nobody"])
        nothing = grants_of(cx, "https://idp.example.com#8", [])

    assert grants == (
        Grant(Role.AUDITOR),
        Grant(Role.PROMOTER, "fraud-*"),
        Grant(Role.READER, "churn-*"),
    )
    assert nothing == ()
    assert len(seen) == 2


def test_same_role_twice_is_one_role(api: Driver) -> None:
    granted(api)
    granted(api, subject_kind="user", subject=ANN)

    with api.engine.connect() as cx:
        assert grants_of(cx, ANN, ["leads"]) == (Grant(Role.PROMOTER),)


@ON_BOTH_DATABASES
def test_role_is_listed_recorded_and_revoked(api: Driver) -> None:
    binding = granted(api, models="fraud-*")
    again = granted(api, models="fraud-*")
    other = granted(api)

    listed = api.read("/role-bindings?limit=1")
    following = api.read(f"/role-bindings?cursor={listed['next_cursor']}")
    items = [*listed["items"], *following["items"]]
    assert again == binding
    assert sorted(map(json.dumps, items)) == sorted(map(json.dumps, [binding, other]))
    assert api.delete(f"/role-bindings/{binding['id']}").status_code == 204
    assert api.read("/role-bindings")["items"] == [other]
    problem_of(api.delete(f"/role-bindings/{binding['id']}"), 404, "not-found")
    entries = [e for e in api.audit() if e["action"].startswith("role.")]
    assert [(e["action"], e["before"], e["after"]) for e in entries] == [
        ("role.granted", None, binding),
        ("role.granted", None, other),
        ("role.revoked", binding, None),
    ]
    assert api.read("/audit/verify")["ok"]


@ON_BOTH_DATABASES
def test_two_who_grant_the_same_at_once_grant_it_once(api: Driver) -> None:
    begin = threading.Barrier(4)
    answers = []

    def grant() -> None:
        client = Driver(api.app, api.app.test_client())
        client.client.environ_base.update(api.client.environ_base)
        begin.wait()
        answers.append(client.post("/role-bindings", LEADS).status_code)

    threads = [threading.Thread(target=grant) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == [200] * 4
    assert len(api.read("/role-bindings")["items"]) == 1
    assert [e["action"] for e in api.audit()].count("role.granted") == 1


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"role": "root"}, "role"),
        ({"role": "viewer", "models": "a*"}, "models"),
        ({"models": "[a]"}, "models"),
        ({"subject_kind": "robot"}, "subject_kind"),
        ({"subject": ""}, "subject"),
        ({"subject": " "}, "subject"),
        ({"subject": "a" * (MAX_SUBJECT_CHARACTERS + 1)}, "subject"),
    ],
)
def test_binding_of_no_sense_is_refused(
    api: Driver, members: Document, field: str
) -> None:
    answer = api.post("/role-bindings", {**LEADS, **members})

    assert field in json.dumps(problem_of(answer, 422, "invalid"))


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        ("UPDATE role_bindings SET role = 'admin'", "its role is promoter"),
        ("UPDATE role_bindings SET models = 'x'", "its models is *"),
        ("UPDATE role_bindings SET subject = 'x'", "its subject is leads"),
        ("DELETE FROM role_bindings", "by the log it is there"),
        (
            COPY,
            "role binding x (leads): by role_bindings it is there, by the log it is",
        ),
    ],
)
def test_edited_role_is_found(api: Driver, edit: str, told: str) -> None:
    granted(api)
    with api.engine.begin() as connection:
        connection.execute(text(edit))

    (damage,) = api.read("/audit/verify")["damage"]
    assert told in damage["message"]
