"""Secrets of webhooks, planted and looked for everywhere but on the wire."""

import json
import logging
from base64 import b64encode
from collections.abc import Iterator
from urllib.parse import quote, quote_plus, unquote

import pytest
from flask import Flask
from sqlalchemy import select
from werkzeug.test import TestResponse

from registry.logs import configure_logging
from registry.persistence.database import db
from tests.certificates import Authority, Credential
from tests.integration.api.driver import ON_BOTH_DATABASES, Document, Driver
from tests.receiver import Answer, ReceivedRequest, Receiver
from webhooks.tables import Attempt, SubscriptionSecret

HEADER = 'canary-header-7f3a"9c\\1'
BODY = "canary-body 5d2e/8b+41&ü"
URL = "canary-url-1a9f6c3e"
HUB = "canary-hub-c0ffee42"
CHAT = "services/T0CANARY/B0CANARY/canary-chat-3b7d"
BASIC = "canary-basic-90ab12cd"
REPLACED = "canary-replaced-2222ffff"
REFUSED = "canary-refused-4444eeee"
CANARIES = (HEADER, BODY, URL, HUB, CHAT, BASIC, REPLACED, REFUSED)


def spellings(secret: str) -> set[str]:
    return {
        secret,
        json.dumps(secret)[1:-1],
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        b64encode(secret.encode()).decode().rstrip("="),
    }


def echo(request: ReceivedRequest) -> Answer:
    """Send everything back, as servers do that are asked to debug."""
    everything = "\n".join([request.path, *request.headers.values()])
    body = request.body.decode()
    texts = [everything, body, unquote(everything), json.dumps(everything), quote(body)]
    headers = {f"X-Echo-{name}": value for name, value in request.headers.items()}
    status = 500 if request.number % 2 else 200
    echoed = {**headers, "X-Echo-Path": request.path}
    return Answer(status, echoed, "\n".join(texts).encode())


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> Iterator[pytest.CaptureFixture[str]]:
    """The log as it is in production, with everything that can be logged."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure_logging("DEBUG")
    yield capsys
    root.handlers[:] = handlers
    root.setLevel(level)


class Watched:
    """A driver whose answers are all kept."""

    def __init__(self, api: Driver) -> None:
        self.api = api
        self.texts: list[str] = []

    def keep(self, answer: TestResponse, *statuses: int) -> Document:
        text = answer.get_data(as_text=True)
        assert answer.status_code in statuses, text
        document = json.loads(text or "{}")
        # Shown this once, as it must be.
        document.pop("secret", None)
        self.texts.append(json.dumps(document, ensure_ascii=False))
        return dict(document)

    def read(self, path: str) -> Document:
        return self.keep(self.api.get(path), 200)

    def create(self, url: str, **members: object) -> str:
        key = {"Idempotency-Key": f"key-{len(self.texts)}"}
        body = {"url": url, **members}
        return str(self.keep(self.api.post("/webhooks", body, headers=key), 201)["id"])


def subscribe_everything(watched: Watched, base: str, client: Credential) -> list[str]:
    return [
        watched.create(
            f"{base}/hook?key=${{url}}",
            headers={"Authorization": "Bearer ${header}"},
            options={"hub_signature": "${hub}"},
            signatures=["v1", "v1a"],
            credentials={"url": URL, "header": HEADER, "hub": HUB},
            client_certificate=client.certificate,
            client_key=client.key,
        ),
        watched.create(
            f"{base}/gitlab",
            format="gitlab",
            options={"ref": "main", "variables": {"SECRET": {"value": "${more}"}}},
            credentials={"token": BODY, "more": REPLACED},
        ),
        watched.create(f"{base}/{CHAT}", format="slack"),
        watched.create(
            f"{base}/job/deploy/buildWithParameters",
            format="jenkins",
            options={"trigger": "build", "user": "ci"},
            credentials={"token": BASIC},
        ),
    ]


def be_refused(watched: Watched, identity: str) -> None:
    """Make every mistake that a secret could be quoted for."""
    api, path = watched.api, f"/webhooks/{identity}"
    url = "https://example.com/"
    for body in (
        {"url": url, "credentials": {"a": REFUSED + "\n"}},
        {"url": url, "credentials": {"a": [REFUSED]}},
        {"url": url, "credentials": {"a": REFUSED * 300}},
        {"url": url, "credentials": {"a": REFUSED}, "headers": {"Host": "${a}"}},
        {"url": url, "credentials": {"a": REFUSED + "é"}, "headers": {"X": "${a}"}},
        {"url": f"{url}${{a}}", "credentials": {"a": f"#{REFUSED}"}},
        {"url": url, "client_key": f"-----BEGIN PRIVATE KEY-----\n{REFUSED}"},
        {"url": url, "ca_certificate": f"-----BEGIN PRIVATE KEY-----\n{REFUSED}"},
    ):
        watched.keep(api.post("/webhooks", body), 422)
    watched.keep(api.patch(path, {"credentials": {"header": REFUSED + "\r\n"}}), 422)
    watched.keep(api.patch(path, {"client_key": REFUSED}), 422)


def use_everything(watched: Watched, identities: list[str]) -> None:
    api = watched.api
    api.create_model()
    while api.parts.dispatcher.run_once():
        pass
    for identity in identities:
        path = f"/webhooks/{identity}"
        watched.keep(api.post(f"{path}/test"), 200)
        watched.keep(api.post(f"{path}/rotate-secret", {}), 200)
        watched.keep(api.patch(path, {"description": "changed"}), 200)
        watched.read(path)
        for delivery in watched.read(f"{path}/deliveries")["items"]:
            watched.read(f"/deliveries/{delivery['id']}")
            watched.read(f"/deliveries/{delivery['id']}/attempts")
    change = {"credentials": {"more": "another-one-of-no-use"}}
    watched.keep(api.patch(f"/webhooks/{identities[1]}", change), 200)
    watched.read("/webhooks")
    watched.read("/audit?limit=200")


def dump(app: Flask) -> str:
    """Everything that the database holds, bytes as text."""
    with app.app_context():
        engine = db.engine
        if engine.dialect.name == "sqlite":
            directory = str(engine.url.database)
            raw = b""
            for suffix in ("", "-wal"):
                with open(directory + suffix, "rb") as file:  # noqa: PTH123  # The name is the engine's.
                    raw += file.read()
            return raw.decode("utf-8", "replace")
        with engine.connect() as connection:
            tables = connection.exec_driver_sql(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            ).scalars()
            rows = [
                value
                for table in tables.all()
                for row in connection.exec_driver_sql(f'SELECT * FROM "{table}"')  # noqa: S608  # The database's own names.
                for value in row
            ]
    return "\n".join(
        value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        for value in rows
    )


def signing_secrets(api: Driver) -> list[str]:
    with api.app.app_context():
        rows = db.session.scalars(select(SubscriptionSecret.sealed)).all()
    opened = [api.parts.webhooks.box.open(sealed) for sealed in rows]
    assert len(opened) == 10
    return [secret.partition("_")[2] for secret in opened]


@ON_BOTH_DATABASES
def test_planted_secrets_are_found_nowhere(
    api: Driver, log: pytest.CaptureFixture[str]
) -> None:
    watched = Watched(api)
    client = Authority().issue("client")
    with Receiver(answers=echo) as receiver:
        base = f"http://127.0.0.1:{receiver.port}"
        identities = subscribe_everything(watched, base, client)
        be_refused(watched, identities[0])
        use_everything(watched, identities)
        received = [
            f"{request.path}\n{request.headers}\n{request.body.decode()}"
            for request in receiver.requests
        ]

    with api.app.app_context():
        answered = [row.response_body for row in db.session.scalars(select(Attempt))]
    places = {
        "answers": "\n".join(watched.texts),
        "log": "".join(log.readouterr()),
        "database": dump(api.app),
    }
    # The search is worth something only where there was something to find.
    assert all(any(s in t for t in received for s in spellings(c)) for c in (URL, BODY))
    assert sum(b"(redacted)" in (body or b"") for body in answered) >= len(identities)
    assert "webhook_attempt_finished" in places["log"]
    for secret in (*CANARIES, client.key.splitlines()[1], *signing_secrets(api)):
        for spelling in spellings(secret):
            for name, text in places.items():
                assert spelling not in text, (name, spelling)
