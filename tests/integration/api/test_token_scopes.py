"""Tokens of any role, for some models, confined to scopes; who is behind one."""

import json

import pytest
from sqlalchemy import text

from registry.domain.actors import Actor, ActorKind, Caller, CredentialKind
from registry.domain.roles import MAX_SCOPES, Grant, Role, Scope
from registry.domain.rows import TokenRow
from registry.domain.token_format import token_digest
from registry.persistence import apply
from registry.persistence.database import change
from registry.services import tokens
from registry.services.transaction import begin
from tests.integration.api.driver import (
    ON_BOTH_DATABASES,
    Document,
    Driver,
    document_of,
    problem_of,
)
from tests.integration.conftest import signed_in
from webhooks.queue.dispatcher import utc_now

SCOPES = ["promote:fraud-*", "read:*"]


@ON_BOTH_DATABASES
def test_token_says_for_which_models_and_scopes_it_is(api: Driver) -> None:
    body = {"name": "ci", "role": "promoter", "models": "fraud-*", "scopes": SCOPES}
    created = document_of(api.post("/tokens", body))

    caller = Driver(api.app, signed_in(api.app, created["token"]))
    assert caller.read("/whoami") == {
        "name": "ci",
        "kind": "token",
        "roles": ["promoter:fraud-*"],
        "scopes": SCOPES,
    }
    said = {"role": "promoter", "models": "fraud-*", "scopes": SCOPES, "owner": ""}
    listed = {token["id"]: token for token in api.read("/tokens")["items"]}
    for document in (created, listed[created["id"]], api.audit()[-1]["after"]):
        assert said.items() <= document.items()
    assert api.audit()[-1]["action"] == "token.created"


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"role": "root"}, "role"),
        ({"role": "viewer", "models": "fraud-*"}, "models"),
        ({"role": "reader", "models": "[a]"}, "models"),
        ({"role": "reader", "models": ""}, "models"),
        ({"role": "reader", "scopes": []}, "scopes"),
        ({"role": "reader", "scopes": ["administer:*"]}, "scopes"),
        ({"role": "reader", "scopes": ["read"]}, "scopes"),
        ({"role": "reader", "scopes": ["read:*"] * (MAX_SCOPES + 1)}, "scopes"),
    ],
)
def test_token_of_no_sense_is_refused(
    api: Driver, members: Document, field: str
) -> None:
    problem = problem_of(api.post("/tokens", {"name": "ci", **members}), 422, "invalid")

    assert field in json.dumps(problem)


@pytest.mark.parametrize(
    ("maker", "owner"),
    [
        (Actor(kind=ActorKind.USER, name="Ann", principal="https://idp#7"), "https://idp#7"),
        (Actor(kind=ActorKind.TOKEN, name="t", principal="1", human="https://idp#7"), "https://idp#7"),
        (Actor(kind=ActorKind.TOKEN, name="t", principal="1"), ""),
    ],
    ids=["a person", "the token of a person", "the token of nobody"],
)  # fmt: skip
def test_token_is_owned_by_the_person_behind_whoever_made_it(
    api: Driver, maker: Actor, owner: str
) -> None:
    caller = Caller(actor=maker)
    with begin(api.engine, caller=caller, policy=api.parts.policy) as tx:
        document, secret = tokens.create_token(tx, "ci", Grant(Role.READER))

    assert document["owner"] == owner
    with api.engine.connect() as cx:
        actor = tokens.actor_of(tokens.sign_in(cx, secret, now=utc_now()))
    assert (actor.human, actor.kind, actor.scopes) == (owner, ActorKind.TOKEN, None)


@ON_BOTH_DATABASES
def test_token_of_a_ci_job_acts_for_its_publisher_and_its_run(api: Driver) -> None:
    run = {"repository": "acme/fraud", "run_id": "7", "human": "https://idp#7"}
    row = TokenRow(
        id="f" * 32,
        name="acme/fraud",
        role="promoter",
        models="fraud-*",
        scopes=["promote:fraud-eu"],
        kind=tokens.CI,
        publisher_id="p1",
        on_behalf_of=run,
        digest=token_digest("of-a-job"),
        created_at=utc_now(),
        created_by="acme/fraud",
        expires_at=None,
    )
    with change(api.engine) as cx:
        apply.add(cx, row)

    with api.engine.connect() as cx:
        actor = tokens.actor_of(tokens.sign_in(cx, "of-a-job", now=utc_now()))

    assert actor == Actor(
        kind=ActorKind.CI,
        name="acme/fraud",
        principal="publisher:p1",
        grants=(Grant(Role.PROMOTER, "fraud-*"),),
        scopes=(Scope.parse("promote:fraud-eu"),),
        credential=CredentialKind.CI_TOKEN,
        credential_id="f" * 32,
        on_behalf_of=run,
        human="https://idp#7",
    )


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        ("role = 'admin'", "its role is writer, by tokens admin"),
        ("models = '*'", "its models is fraud-*, by tokens *"),
        ("scopes = NULL", "its scopes is ['write:fraud-*'], by tokens None"),
        ("owner = 'x'", "its owner is , by tokens x"),
        ("kind = 'ci'", "its kind is token, by tokens ci"),
    ],
)
def test_edited_rights_of_a_token_are_found(api: Driver, edit: str, told: str) -> None:
    new = {"role": "writer", "models": "fraud-*", "scopes": ["write:fraud-*"]}
    api.post("/tokens", {"name": "ci", **new})
    assert api.read("/audit/verify")["ok"]

    with api.engine.begin() as connection:
        connection.execute(text(f"UPDATE tokens SET {edit} WHERE name = 'ci'"))  # noqa: S608  # of this test

    (damage,) = api.read("/audit/verify")["damage"]
    assert told in damage["message"]
