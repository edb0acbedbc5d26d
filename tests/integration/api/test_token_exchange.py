"""CI jobs exchange what their platform signed of them for a token of ours."""

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flask import Flask
from sqlalchemy import text
from werkzeug.test import TestResponse

from registry.domain.actors import Caller
from registry.domain.publishers import JobProvider
from registry.domain.token_format import is_well_formed
from registry.errors import NotSignedInError
from registry.persistence.database import db, end_reading, reading
from registry.services import exchange
from registry.services.transaction import begin
from registry.worker import BackgroundWork
from tests import ci_jobs
from tests.identity_provider import CLIENT, IdentityProvider
from tests.integration.api.driver import (
    MODEL,
    ON_BOTH_DATABASES,
    ROOT,
    Document,
    Driver,
    document_of,
    problem_of,
)
from tests.integration.conftest import SharedApps, close_app, make_app, signed_in
from tests.wrong_jwts import NOW, WRONG_JWTS, signed

EXCHANGE = f"{ROOT}/oidc/exchange"
PUBLISHERS = "/trusted-publishers"


@pytest.fixture
def app(
    tmp_path: Path, database: dict[str, str], shared_apps: SharedApps
) -> Iterator[Flask]:
    app = shared_apps.lend(tmp_path, {**database, "OIDC_AUDIENCE": CLIENT})
    yield app
    assert "Current Checked out connections: 0" in close_app(app)


def trust(
    api: Driver, provider: IdentityProvider, kind: str = "github", **members: object
) -> Document:
    """Trust the jobs of a platform, which the provider now signs for."""
    provider.person = ci_jobs.claims_of(kind, provider.url)
    body = {**ci_jobs.publisher(kind, provider.url), **members}
    answer = api.post(PUBLISHERS, body)
    assert answer.status_code == 201, answer.get_data(as_text=True)
    return document_of(answer)


def jwt_of(provider: IdentityProvider, **claims: object) -> str:
    return provider.bearer(**{"jti": uuid.uuid4().hex, **claims})


def send(app: Flask, token: str) -> TestResponse:
    return app.test_client().post(EXCHANGE, json={"token": token})


def exchanged(app: Flask, token: str) -> Document:
    answer = send(app, token)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return document_of(answer)


def job(api: Driver, provider: IdentityProvider, **claims: object) -> Driver:
    """A job that has its token."""
    token = exchanged(api.app, jwt_of(provider, **claims))["token"]
    return Driver(api.app, signed_in(api.app, token))


@ON_BOTH_DATABASES
@pytest.mark.parametrize("kind", ["github", "gitlab", "kubernetes"])
def test_job_is_given_a_token_of_its_publishers_role(
    api: Driver, provider: IdentityProvider, kind: str
) -> None:
    trust(api, provider, kind)
    before = datetime.now(UTC)

    given = exchanged(api.app, jwt_of(provider))

    assert given["token"].startswith("sg_ci_")
    assert is_well_formed(given["token"])
    lifetime = datetime.fromisoformat(given.pop("expires_at")) - before
    assert timedelta(minutes=14) < lifetime <= timedelta(minutes=15, seconds=5)
    del given["token"]
    assert given == {"publisher": "training", "role": "promoter", "models": "fraud*"}


@ON_BOTH_DATABASES
def test_job_does_what_its_publisher_may_and_nothing_else(
    api: Driver, provider: IdentityProvider
) -> None:
    trust(api, provider)
    caller = job(api, provider)

    assert caller.read("/whoami") == {
        "name": "training",
        "kind": "ci",
        "roles": ["promoter:fraud*"],
        "scopes": None,
    }
    caller.ready_versions(1)
    caller.moved(1, "Staging")
    problem_of(caller.post("/models", {"name": "churn"}), 403, "forbidden")
    problem_of(caller.get("/tokens"), 403, "forbidden")
    problem_of(caller.client.post("/auth/session"), 403, "forbidden")


RUN = {
    "github": {
        "provider": "github",
        "repository": "Acme/Fraud",
        "ref": "refs/heads/main",
        "sha": "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
        "run_id": "1658821493",
        "workflow": "Acme/Fraud/.github/workflows/train.yml@refs/heads/main",
        "environment": "registry",
        "actor": "octocat",
        "actor_id": "1",
    },
    "gitlab": {
        "provider": "gitlab",
        "project": "acme/fraud",
        "ref": "refs/heads/main",
        "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
        "run_id": "574",
        "environment": "registry",
        "actor": "sample-user",
        "actor_id": "1",
    },
    "kubernetes": {
        "provider": "kubernetes",
        "project": "ml",
        "actor": "system:serviceaccount:ml:training",
        "pod": "train-7x2",
    },
}


@ON_BOTH_DATABASES
@pytest.mark.parametrize("kind", ["github", "gitlab", "kubernetes"])
def test_audit_log_tells_which_run_acted(
    api: Driver, provider: IdentityProvider, kind: str
) -> None:
    publisher = trust(api, provider, kind)
    caller = job(api, provider)
    caller.ready_versions(1)
    caller.moved(1, "Staging")

    (given,) = [e for e in api.audit() if e["action"] == "token.exchanged"]
    of_model = api.audit(MODEL)

    run = given["on_behalf_of"]
    assert run.items() >= {**RUN[kind], "issuer": provider.url}.items()
    assert len(of_model) > 3
    for entry in of_model:
        assert entry["on_behalf_of"] == run
        assert entry["credential"] == {"kind": "ci_token", "id": given["after"]["id"]}
        assert entry["actor"] == {
            "kind": "ci",
            "name": "training",
            "id": f"publisher:{publisher['id']}",
            "roles": ["promoter:fraud*"],
        }
    assert given["actor"]["id"] == f"publisher:{publisher['id']}"
    assert given["credential"] == {"kind": "jwt", "id": run["jti_sha256"]}
    assert given["after"]["on_behalf_of"] == run
    assert "sg_ci_" not in str(api.audit())
    assert api.read("/audit/verify")["ok"]


@ON_BOTH_DATABASES
@pytest.mark.parametrize(
    "jti",
    ["one", None, "", 7, ["a"]],
    ids=["id", "no id", "empty id", "number", "list"],
)
def test_t4_token_that_is_replayed_at_once_is_exchanged_once(
    api: Driver, provider: IdentityProvider, jti: object
) -> None:
    trust(api, provider)
    signed_token = provider.bearer(**({} if jti is None else {"jti": jti}))
    begin, statuses = threading.Barrier(6), []

    def replay() -> None:
        begin.wait()
        statuses.append(send(api.app, signed_token).status_code)

    threads = [threading.Thread(target=replay) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(statuses) == [200, *[401] * 5]
    assert (
        "exchanged already"
        in problem_of(send(api.app, signed_token), 401, "unauthenticated")["detail"]
    )
    assert [e["action"] for e in api.audit()].count("token.exchanged") == 1


def test_t4_other_spelling_of_a_signature_is_the_same_token(
    api: Driver, provider: IdentityProvider
) -> None:
    trust(api, provider)
    signed_token = provider.bearer()
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    # The last of 342 characters has four bits that belong to no byte.
    last = letters[letters.index(signed_token[-1]) ^ 1]
    exchanged(api.app, signed_token)

    problem_of(send(api.app, signed_token[:-1] + last), 401, "unauthenticated")


def test_t4_same_id_of_another_issuer_is_another_token(
    api: Driver, provider: IdentityProvider
) -> None:
    trust(api, provider)
    exchanged(api.app, jwt_of(provider, jti="one"))
    with IdentityProvider() as other:
        trust(api, other, name="elsewhere")
        exchanged(api.app, jwt_of(other, jti="one"))


@ON_BOTH_DATABASES
def test_t4_deleted_publisher_ends_its_jobs_tokens_at_once(
    api: Driver, provider: IdentityProvider
) -> None:
    publisher = trust(api, provider)
    other = trust(api, provider, "github", name="b", claims=_asking(ref="refs/x"))
    caller = job(api, provider)
    assert caller.get("/whoami").status_code == 200

    assert api.delete(f"{PUBLISHERS}/{publisher['id']}").status_code == 204

    problem_of(caller.get("/whoami"), 401, "unauthenticated")
    problem_of(send(api.app, jwt_of(provider)), 401, "unauthenticated")
    assert api.read(PUBLISHERS)["items"] == [other]
    assert api.read("/audit/verify")["ok"]
    with api.engine.begin() as connection:
        connection.execute(text("UPDATE tokens SET revoked_at = NULL"))
    (damage,) = api.read("/audit/verify")["damage"]
    assert "its revoked_at is" in damage["message"]


def _asking(**more: str) -> dict[str, str]:
    return {**ci_jobs.ASKED["github"], **more}


@ON_BOTH_DATABASES
def test_tokens_of_jobs_and_what_they_were_exchanged_for_are_removed_in_the_end(
    api: Driver, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.services.tokens.REMOVED_AT_ONCE", 1)
    trust(api, provider)
    api.post("/tokens", {"name": "of-a-script", "role": "viewer"})
    for _ in range(3):
        exchanged(api.app, jwt_of(provider))
    dump = api.dump()
    assert len(dump["used_jtis"]) == 3
    kept = len(dump["tokens"]) - 3

    BackgroundWork(api.app).forget_ci_jobs()
    assert len(api.dump()["used_jtis"]) == 3
    later = datetime.now(UTC) + timedelta(days=8)
    BackgroundWork(api.app, clock=lambda: later).forget_ci_jobs()

    dump = api.dump()
    assert (len(dump["used_jtis"]), len(dump["tokens"])) == (0, kept)
    removed = [e for e in api.audit() if e["action"] == "token.removed"]
    assert removed
    assert api.read("/audit/verify")["ok"]


def test_removed_token_is_found_before_its_time(
    api: Driver, provider: IdentityProvider
) -> None:
    trust(api, provider)
    exchanged(api.app, jwt_of(provider))
    with api.engine.begin() as connection:
        connection.execute(text("DELETE FROM tokens WHERE kind = 'ci'"))

    (damage,) = api.read("/audit/verify")["damage"]
    assert "by the log it is there, by tokens it is not" in damage["message"]


#: People's are right where people sign in, and wrong here.
OF_PEOPLE = {typ: signed(header={"typ": typ}) for typ in ("at+jwt", "logout+jwt")}
WRONG_HERE = {**WRONG_JWTS, **OF_PEOPLE}


@pytest.mark.parametrize("wrong", WRONG_HERE.values(), ids=WRONG_HERE)
def test_t3_wrong_token_is_not_exchanged(
    api: Driver,
    provider: IdentityProvider,
    wrong: Callable[[IdentityProvider], str],
) -> None:
    trust(api, provider)

    problem = problem_of(send(api.app, wrong(provider)), 401, "unauthenticated")

    assert str(problem["detail"]).isprintable()


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": [CLIENT, "other"]},
        {"aud": [CLIENT, CLIENT]},
        {"exp": NOW + 32 * 86400},
        {"event_name": "pull_request_target"},
        {"repository_owner_id": "7"},
        {"job_workflow_ref": "Acme/Fraud/.github/workflows/x.yml@refs/heads/main"},
        {"repository": "acme/other"},
        {"repository": None},
    ],
)
def test_t5_token_of_another_job_is_not_exchanged(
    api: Driver, provider: IdentityProvider, claims: Document
) -> None:
    trust(api, provider)

    problem_of(send(api.app, jwt_of(provider, **claims)), 401, "unauthenticated")

    assert "token.exchanged" not in [e["action"] for e in api.audit()]


def test_t5_issuer_of_nobody_is_asked_nothing(
    api: Driver, provider: IdentityProvider
) -> None:
    trust(api, provider)
    with IdentityProvider() as other:
        other.person = provider.person
        problem_of(send(api.app, jwt_of(other)), 401, "unauthenticated")
        assert other.requests == []


@pytest.mark.parametrize("claims", [{"aud": [CLIENT]}, {"exp": NOW + 86400}])
def test_right_token_is_exchanged(
    api: Driver, provider: IdentityProvider, claims: Document
) -> None:
    trust(api, provider)

    exchanged(api.app, jwt_of(provider, **claims))


def test_wrong_tokens_are_wrong_by_what_they_say(
    api: Driver, provider: IdentityProvider
) -> None:
    trust(api, provider)

    exchanged(api.app, signed()(provider))


@pytest.mark.parametrize(("kind", "status"), [("kubernetes", 200), ("github", 401)])
def test_platform_signs_by_what_it_documents(
    api: Driver, kind: str, status: int
) -> None:
    key, algorithm = ec.generate_private_key(ec.SECP256R1()), "ES256"
    public = json.loads(jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key()))
    with IdentityProvider() as issuer:
        trust(api, issuer, kind)
        curve = {**public, "kid": issuer.kid, "use": "sig"}
        issuer.jwks = lambda: {"keys": [{**issuer.jwk(), "kid": "other"}, curve]}
        claims = issuer.claims()
        token = jwt.encode(claims, key, algorithm, headers={"kid": issuer.kid})

        assert send(api.app, token).status_code == status


def test_publisher_that_says_most_of_the_job_counts(
    api: Driver, provider: IdentityProvider
) -> None:
    trust(api, provider)
    trust(api, provider, name="release", claims=_asking(environment="registry"))

    assert exchanged(api.app, jwt_of(provider))["publisher"] == "release"
    other = jwt_of(provider, environment="test")
    assert exchanged(api.app, other)["publisher"] == "training"


def test_t15_no_other_credential_counts_there(
    api: Driver, provider: IdentityProvider
) -> None:
    trust(api, provider)
    browser = api.app.test_client()
    signing_in = {"Authorization": api.client.environ_base["HTTP_AUTHORIZATION"]}
    assert browser.post("/auth/session", headers=signing_in).status_code == 201
    assert browser.get(f"{ROOT}/whoami").status_code == 200

    for token in ("nonsense", jwt_of(provider, repository_owner_id="7")):
        answer = browser.post(EXCHANGE, json={"token": token}, headers=signing_in)
        problem_of(answer, 401, "unauthenticated")
    answer = browser.post(EXCHANGE, json={"token": jwt_of(provider)})
    assert document_of(answer)["publisher"] == "training"
    assert "Set-Cookie" not in answer.headers


def test_idempotency_key_opens_nothing_twice(
    api: Driver, provider: IdentityProvider
) -> None:
    trust(api, provider)
    signed_token, key = jwt_of(provider), {"Idempotency-Key": "again"}
    client = api.app.test_client()

    first = client.post(EXCHANGE, json={"token": signed_token}, headers=key)
    second = client.post(EXCHANGE, json={"token": signed_token}, headers=key)

    assert first.status_code == 200
    problem_of(second, 401, "unauthenticated")


@pytest.mark.usefixtures("failures_last")
def test_who_fails_too_often_is_told_when_to_come_back(
    api: Driver, provider: IdentityProvider
) -> None:
    trust(api, provider)
    for _ in range(30):
        problem_of(send(api.app, "nonsense"), 401, "unauthenticated")

    problem_of(send(api.app, jwt_of(provider)), 429, "too-many-attempts")


def test_issuer_that_is_down_is_nobodys_failure(
    api: Driver, provider: IdentityProvider
) -> None:
    del provider
    with IdentityProvider() as away:
        trust(api, away)
        away.is_down = True
        for _ in range(40):
            problem_of(send(api.app, jwt_of(away)), 503, "unavailable")


def test_without_an_audience_nothing_is_exchanged(
    tmp_path: Path, provider: IdentityProvider
) -> None:
    app = make_app(tmp_path)
    api = Driver(app, signed_in(app))
    trust(api, provider)

    signed_token = jwt_of(provider, aud="http://localhost")
    problem_of(send(app, signed_token), 404, "not-found")
    close_app(app)


def test_audience_is_the_public_address_unless_another_is_set(
    tmp_path: Path, provider: IdentityProvider
) -> None:
    address = "https://registry.example.com"
    app = make_app(tmp_path, PUBLIC_URL=address)
    api = Driver(app, signed_in(app))
    trust(api, provider)

    exchanged(app, jwt_of(provider, aud=address))
    problem_of(send(app, jwt_of(provider)), 401, "unauthenticated")
    close_app(app)


def test_refusal_is_logged_without_the_token(
    api: Driver, provider: IdentityProvider, caplog: pytest.LogCaptureFixture
) -> None:
    trust(api, provider)
    signed_token = jwt_of(provider, repository_owner_id="7")

    send(api.app, signed_token)

    assert "another repository_owner_id than '7'" in caplog.text
    assert "sign_in_refused" in caplog.text
    assert signed_token.rpartition(".")[2] not in caplog.text


@ON_BOTH_DATABASES
def test_t4_publisher_that_is_deleted_meanwhile_gives_no_token(
    api: Driver, provider: IdentityProvider
) -> None:
    publisher = trust(api, provider)
    signed_token, issuers = jwt_of(provider), api.parts.job_issuers
    kind = JobProvider.GITHUB
    claims = issuers.verified(signed_token, provider.url, kind, audience=CLIENT)
    with api.app.test_request_context():
        now = datetime.now(UTC)
        found = exchange.job_of(reading(), signed_token, claims, kind, now=now)
        end_reading()
    api.delete(f"{PUBLISHERS}/{publisher['id']}")

    caller = Caller(actor=found.actor)
    with (
        pytest.raises(NotSignedInError, match="was deleted"),
        begin(api.engine, caller=caller, policy=api.parts.policy) as tx,
    ):
        exchange.exchange(tx, found)
    assert api.dump()["used_jtis"] == []


def test_claims_that_no_database_takes_are_none(
    api: Driver, provider: IdentityProvider
) -> None:
    trust(api, provider)

    for text_of_none in ("\ud800", "a\x00b"):
        for claim in ("repository", "ref", "actor", "iss"):
            token = jwt_of(provider, **{claim: text_of_none})
            expected = 200 if claim == "actor" else 401
            assert send(api.app, token).status_code == expected, claim


@ON_BOTH_DATABASES
def test_no_connection_is_held_while_an_issuer_is_asked(
    api: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[str] = []
    with IdentityProvider() as slow:
        trust(api, slow)
        keys = slow.jwks

        def jwks() -> object:
            with api.app.app_context():
                held.append(db.engine.pool.status())
            return keys()

        monkeypatch.setattr(slow, "jwks", jwks)
        exchanged(api.app, jwt_of(slow))

    assert held
    assert "Current Checked out connections: 0" in held[0]
