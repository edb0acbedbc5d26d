"""A policy with gates of every kind, and who meets them."""

from typing import Any

from sqlalchemy import text
from werkzeug.test import TestResponse

from registry.domain.rows import TokenRow
from registry.domain.token_format import token_digest
from registry.persistence import apply
from registry.persistence.database import change
from registry.services import tokens
from registry.settings import packaged_config
from tests.integration.api.driver import MODEL, Document, Driver, document_of
from webhooks.queue.dispatcher import utc_now

#: ``fraud`` is brought into Production by a check and an approval, ``loss-…`` by two.
GATES = """
[[override]]
models = "fraud"
automatic_rollback = ["Production"]
[[override.moves]]
from = "None"
to = "Staging"
via = "promotion"
[[override.moves]]
from = "Staging"
to = "Production"
via = "promotion"
verify_artifact = true
checks = ["tests"]
approvals = 1
[[override.moves]]
from = "Production"
to = "Archived"
via = "archival"
[[override.moves]]
from = "Staging"
to = "Archived"
via = "archival"
[[override.moves]]
from = "Archived"
to = "Staging"
via = "promotion"
[[override.moves]]
from = "Archived"
to = "Production"
via = "rollback"

[[override]]
models = "loss-*"
automatic_rollback = ["Production"]
[[override.moves]]
from = "None"
to = "Production"
via = "promotion"
approvals = 2
[[override.moves]]
from = "Archived"
to = "Production"
via = "rollback"
approvals = 1
[[override.moves]]
from = "Production"
to = "Archived"
via = "archival"

[[override]]
models = "one-*"
[[override.moves]]
from = "None"
to = "Production"
via = "promotion"
approvals = 1

[[override]]
models = "both-*"
[[override.moves]]
from = "None"
to = "Production"
via = "promotion"
checks = ["tests"]
approvals = 2
"""
LOSS = "loss-1"
PEOPLE = ("promot", "approv", "approv")


def gated_policy() -> str:
    """The default policy, with gates for some models."""
    return packaged_config("policy.toml").read_text() + GATES


def ci_job(
    api: Driver,
    role: str = "promoter",
    publisher: str = "p1",
    *,
    human: str = "",
    run_url: str = "",
) -> Driver:
    """The same registry as a CI job sees it, by the token of its publisher."""
    secret = f"of-a-job-{publisher}"
    row = TokenRow(
        id=token_digest(secret)[:32],
        name=publisher,
        role=role,
        models="*",
        kind=tokens.CI,
        publisher_id=publisher,
        on_behalf_of={"run_id": "7", "human": human, "run_url": run_url},
        digest=token_digest(secret),
        created_at=utc_now(),
        created_by="acme",
        expires_at=None,
    )
    with change(api.engine) as cx:
        apply.add(cx, row)
    return api.with_secret(secret)


def person(api: Driver, human: str, **token: str) -> Driver:
    """The same registry as somebody sees it that an identity provider knows."""
    secret = document_of(api.post("/tokens", {"name": "somebody", **token}))["token"]
    owned = text("UPDATE tokens SET owner = :human WHERE digest = :digest")
    with change(api.engine) as cx:
        cx.execute(owned, {"human": human, "digest": token_digest(secret)})
    return api.with_secret(secret)


def asked(answer: TestResponse) -> Document:
    """The request that a move became."""
    assert answer.status_code == 202, answer.get_data(as_text=True)
    request: Document = document_of(answer)["request"]
    return request


def decided(by: Driver, request: Document, how: str, comment: str = "") -> TestResponse:
    path = f"/transition-requests/{request['id']}/{how}"
    return by.post(path, {"comment": comment})


def approved(by: Driver, request: Document, comment: str = "") -> Document:
    answer = decided(by, request, "approve", comment)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return document_of(answer)


def checked(
    api: Driver, number: int, status: str = "passed", *, model: str = MODEL
) -> None:
    path = f"/models/{model}/versions/{number}/checks"
    answer = api.post(path, {"name": "tests", "status": status})
    assert answer.status_code == 200, answer.get_data(as_text=True)


def staged(api: Driver, count: int = 1, *, model: str = MODEL) -> None:
    """A model whose versions are in Staging, their tests passed."""
    api.ready_versions(count, model)
    for number in range(1, count + 1):
        api.moved(number, "Staging", model=model)
        checked(api, number, model=model)


def served(api: Driver, *numbers: int, model: str = MODEL) -> None:
    """Bring versions to Production, one after the other; two approve each."""
    asker, *approvers = (api.with_role(f"{each}er") for each in PEOPLE)
    for number in numbers:
        request = asked(asker.move(number, "Production", model=model))
        for approver in approvers[: request["approvals_needed"]]:
            approved(approver, request)


def state_of(api: Driver, request: Document) -> str:
    return str(api.read(f"/transition-requests/{request['id']}")["state"])


def events_of(api: Driver, model: str = MODEL) -> list[dict[str, Any]]:
    """The events of a model, oldest first."""
    items = api.read(f"/events?limit=200&model={model}")["items"]
    return sorted(items, key=lambda event: int(event["data"]["sequence"]))
