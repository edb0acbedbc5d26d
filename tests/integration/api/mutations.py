"""Every way to change something through the API, as data.

The tests of audit, atomicity and idempotency run over this table, and one of them
holds it to the application's own routes: a new route without a line here fails.
"""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sqlalchemy import text
from werkzeug.test import TestResponse

from tests.integration.api.driver import (
    MODEL,
    ROOT,
    Document,
    Driver,
    declared,
    document_of,
)
from tests.integration.world import made_once

VERSIONS = f"/models/{MODEL}/versions"
BINDING = {"subject_kind": "group", "subject": "leads", "role": "promoter"}
PUBLISHER = {
    "provider": "kubernetes",
    "name": "training",
    "issuer": "https://cluster.example.com",
    "claims": {"namespace": "ml", "service_account": "training"},
    "role": "writer",
}
RECEIVER = "http://127.0.0.1:9/hook"  # discard: nobody answers there


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """A request that changes something once, in the registry of ``prepare``.

    Attributes:
        action: of the one audit entry.
        events: how many events announce it.
        keeps_answer: whether an idempotency key is honoured.
    """

    endpoint: str
    method: str
    path: str
    body: Document | None = None
    action: str
    events: int = 1
    keeps_answer: bool = True
    status: int = 200
    case: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.endpoint.partition(".")[2], self.case)))

    def send(self, api: Driver, path: str, **headers: str) -> TestResponse:
        """Carry it out; ``path`` is what ``resolve`` made of its own."""
        return api.client.open(
            ROOT + path,
            method=self.method,
            json=self.body,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )


def prepare(api: Driver) -> None:
    """Versions 1 and 2 have served, 3 is READY, 4 has its upload, 5 waits."""
    made_once(_make, api)


def _make(api: Driver) -> None:
    api.ready_versions(3)
    api.serve(1, 2)
    api.register()
    api.put(f"{VERSIONS}/4/artifacts/model.bin", data=b"x")
    api.register()
    api.put(f"/models/{MODEL}/aliases/champion", json={"version": 1})
    api.create_model("idle")
    api.create_model("doubted")
    api.ready("doubted")
    source = urlsplit(api.version(1, "doubted")["source"]).path
    file = Path(unquote(source)) / "model.bin"
    file.rename(file.with_suffix(".away"))
    assert api.post("/models/doubted/versions/1/verify").status_code == 409
    file.with_suffix(".away").rename(file)
    api.put("/models/doubted/holds/Staging", json={"reason": "in doubt"})
    asked = {"model": MODEL, "version": 3, "to_stage": "Staging"}
    api.with_role("promoter").post("/transition-requests", asked)
    api.post("/webhooks", {"url": RECEIVER})
    api.patch(f"/models/{MODEL}", {"description": "an event to deliver"})
    with api.engine.begin() as connection:
        connection.execute(text("UPDATE webhook_deliveries SET state = 'delivered'"))
        # Else the maker of the token that asked, who approves, would be one with it.
        connection.execute(
            text("UPDATE transition_requests SET requester_made_by = ''")
        )


def resolve(api: Driver, path: str) -> str:
    """The path with the ids that only a running registry knows."""
    if "{" not in path:
        return path
    webhook = api.read("/webhooks")["items"][0]["id"]
    token = document_of(api.post("/tokens", {"name": "old", "role": "viewer"}))["id"]
    delivery = api.read(f"/webhooks/{webhook}/deliveries")["items"][0]["id"]
    asked = api.read("/transition-requests")["items"][0]["id"]
    old = {**BINDING, "subject": "old"}
    binding = document_of(api.post("/role-bindings", old))["id"]
    other = {**PUBLISHER, "name": "old", "issuer": "https://old.example.com"}
    publisher = document_of(api.post("/trusted-publishers", other))["id"]
    return path.format(
        webhook=webhook,
        token=token,
        delivery=delivery,
        asked=asked,
        binding=binding,
        publisher=publisher,
    )


MUTATIONS = (
    Mutation(
        endpoint="models.create_model",
        method="POST",
        path="/models",
        body={"name": "churn", "tags": {"a": "b"}},
        action="registered_model.created",
        status=201,
    ),
    Mutation(
        endpoint="models.update_model",
        method="PATCH",
        path=f"/models/{MODEL}",
        body={"description": "new", "tags": {"a": "b"}},
        action="registered_model.updated",
    ),
    Mutation(
        endpoint="models.update_model",
        method="PATCH",
        path=f"/models/{MODEL}",
        case="name",
        body={"name": "card-fraud"},
        action="registered_model.renamed",
    ),
    Mutation(
        endpoint="models.delete_model",
        method="DELETE",
        path="/models/idle",
        action="registered_model.deleted",
        status=204,
    ),
    Mutation(
        endpoint="models.set_alias",
        method="PUT",
        path=f"/models/{MODEL}/aliases/champion",
        body={"version": 2},
        action="model_version.alias_set",
    ),
    Mutation(
        endpoint="models.delete_alias",
        method="DELETE",
        path=f"/models/{MODEL}/aliases/champion",
        action="model_version.alias_deleted",
        status=204,
    ),
    Mutation(
        endpoint="versions.create_version",
        method="POST",
        path=VERSIONS,
        body={"source": "gs://store-example/m", "tags": {"a": "b"}},
        action="model_version.registered",
        status=201,
    ),
    Mutation(
        endpoint="versions.update_version",
        method="PATCH",
        path=f"{VERSIONS}/1",
        body={"description": "new", "tags": {"a": "b"}},
        action="model_version.updated",
        events=2,  # and the tag's own
    ),
    Mutation(
        endpoint="versions.delete_version",
        method="DELETE",
        path=f"{VERSIONS}/1",
        action="model_version.deleted",
        status=204,
    ),
    Mutation(
        endpoint="transitions.create_transition",
        method="POST",
        path=f"{VERSIONS}/3/transitions",
        body={"to_stage": "Staging", "reason": "good"},
        action="model_version.stage_changed",
    ),
    Mutation(
        endpoint="transitions.create_rollback",
        method="POST",
        path=f"/models/{MODEL}/rollback",
        body={"reason": "bad"},
        action="model_version.stage_changed",
        events=2,
    ),
    Mutation(
        endpoint="requests.create_transition_request",
        method="POST",
        path="/transition-requests",
        body={"model": MODEL, "version": 2, "to_stage": "Archived"},
        action="transition_request.created",
        status=201,
    ),
    Mutation(
        endpoint="requests.approve_transition_request",
        method="POST",
        path="/transition-requests/{asked}/approve",
        body={"comment": "well"},
        action="model_version.stage_changed",
        events=2,  # and the approval
    ),
    Mutation(
        endpoint="requests.reject_transition_request",
        method="POST",
        path="/transition-requests/{asked}/reject",
        body={"comment": "not yet"},
        action="transition_request.rejected",
    ),
    Mutation(
        endpoint="requests.cancel_transition_request",
        method="POST",
        path="/transition-requests/{asked}/cancel",
        body={},
        action="transition_request.cancelled",
    ),
    Mutation(
        endpoint="checks.report_check",
        method="POST",
        path=f"{VERSIONS}/3/checks",
        body={"name": "integration-tests", "status": "passed"},
        action="model_version.check_reported",
    ),
    Mutation(
        endpoint="checks.set_hold",
        method="PUT",
        path=f"/models/{MODEL}/holds/Production",
        body={"reason": "an incident"},
        action="registered_model.hold_set",
    ),
    Mutation(
        endpoint="checks.lift_hold",
        method="DELETE",
        path="/models/doubted/holds/Staging",
        action="registered_model.hold_lifted",
        status=204,
    ),
    Mutation(
        endpoint="deployments.report_deployment",
        method="POST",
        path=f"{VERSIONS}/2/deployments",
        body={"status": "succeeded", "environment": "production"},
        action="deployment.updated",
    ),
    Mutation(
        endpoint="artifacts.finalize",
        method="POST",
        path=f"{VERSIONS}/4/finalize",
        body=declared({"model.bin": b"x"}),
        action="model_version.updated",
    ),
    Mutation(
        endpoint="artifacts.finalize",
        method="POST",
        path=f"{VERSIONS}/4/finalize",
        case="that fails",
        body=declared({"model.bin": b"other"}),
        action="model_version.updated",
    ),
    Mutation(
        endpoint="artifacts.abort_registration",
        method="POST",
        path=f"{VERSIONS}/5/abort",
        body={"reason": "no"},
        action="model_version.updated",
    ),
    Mutation(
        endpoint="artifacts.verify",
        method="POST",
        path="/models/doubted/versions/1/verify",
        action="model_version.updated",
    ),
    Mutation(
        endpoint="tokens.create_token",
        method="POST",
        path="/tokens",
        body={"name": "ci", "role": "promoter"},
        action="token.created",
        events=0,
        status=201,
    ),
    Mutation(
        endpoint="tokens.revoke_token",
        method="DELETE",
        path="/tokens/{token}",
        action="token.revoked",
        events=0,
        status=204,
    ),
    Mutation(
        endpoint="roles.grant_role",
        method="POST",
        path="/role-bindings",
        body=BINDING,
        action="role.granted",
        events=0,
    ),
    Mutation(
        endpoint="publishers.create_publisher",
        method="POST",
        path="/trusted-publishers",
        body=PUBLISHER,
        action="publisher.created",
        events=0,
        status=201,
    ),
    Mutation(
        endpoint="publishers.delete_publisher",
        method="DELETE",
        path="/trusted-publishers/{publisher}",
        action="publisher.deleted",
        events=0,
        status=204,
    ),
    Mutation(
        endpoint="roles.revoke_role",
        method="DELETE",
        path="/role-bindings/{binding}",
        action="role.revoked",
        events=0,
        status=204,
    ),
    Mutation(
        endpoint="webhooks.create_webhook",
        method="POST",
        path="/webhooks",
        body={"url": RECEIVER},
        action="webhook.created",
        events=0,
        status=201,
    ),
    Mutation(
        endpoint="webhooks.update_webhook",
        method="PATCH",
        path="/webhooks/{webhook}",
        body={"state": "paused", "description": "new"},
        action="webhook.updated",
        events=0,
    ),
    Mutation(
        endpoint="webhooks.delete_webhook",
        method="DELETE",
        path="/webhooks/{webhook}",
        action="webhook.deleted",
        events=0,
        status=204,
    ),
    Mutation(
        endpoint="webhooks.rotate_secret",
        method="POST",
        path="/webhooks/{webhook}/rotate-secret",
        body={},
        action="webhook.secret_rotated",
        events=0,
    ),
    Mutation(
        endpoint="webhooks.test_webhook",
        method="POST",
        path="/webhooks/{webhook}/test",
        action="webhook.tested",
        events=1,
        keeps_answer=False,
    ),
    Mutation(
        endpoint="webhooks.redeliver",
        method="POST",
        path="/deliveries/{delivery}/redeliver",
        body={},
        action="webhook.redelivered",
        events=0,
    ),
    Mutation(
        endpoint="webhooks.redeliver_chosen",
        method="POST",
        path="/webhooks/{webhook}/deliveries/redeliver",
        body={"states": ["delivered"]},
        action="webhook.redelivered",
        events=0,
    ),
)

#: These write files into the artifact store, and nothing into the registry.
UPLOADS = frozenset(
    {"artifacts.check_upload", "artifacts.create_upload", "artifacts.upload_file"}
)
#: Nobody is signed in there (``test_token_exchange``).
EXCHANGES = frozenset({"publishers.exchange_token"})
#: These leave nothing behind.
REHEARSALS = frozenset({"rehearsals.rehearse"})
