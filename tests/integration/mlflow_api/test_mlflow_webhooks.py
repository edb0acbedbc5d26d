"""``/mlflow/webhooks``: our subscriptions as MLflow's clients see them."""

import base64
import hashlib
import hmac
from typing import Any

from tests.integration.api.driver import MODEL, ON_BOTH_DATABASES, Document, document_of
from tests.integration.mlflow_api.driver import AJAX_ROOT, Mlflow
from tests.receiver import Answer, ReceivedRequest, Receiver

PATH = "/webhooks"
SECRET = "a secret of no value"
NOBODY = "http://127.0.0.1:9/hook"
CREATED = {"entity": "REGISTERED_MODEL", "action": "CREATED"}
TAG_SET = {"entity": "MODEL_VERSION_TAG", "action": "SET"}
EVERYTHING = [
    CREATED,
    {"entity": "MODEL_VERSION", "action": "CREATED"},
    TAG_SET,
    {"entity": "MODEL_VERSION_TAG", "action": "DELETED"},
    {"entity": "MODEL_VERSION_ALIAS", "action": "CREATED"},
    {"entity": "MODEL_VERSION_ALIAS", "action": "DELETED"},
]


def create(mlflow: Mlflow, url: str = NOBODY, **fields: object) -> Document:
    sent = {"name": "deploy", "url": url, "events": [CREATED], **fields}
    webhook: Document = mlflow.done("POST", PATH, **sent)["webhook"]
    return webhook


def deliver(mlflow: Mlflow) -> None:
    while mlflow.api.parts.dispatcher.run_once():
        pass


def is_signed(request: ReceivedRequest, secret: str) -> bool:
    """Verify as MLflow's documentation tells its receivers to."""
    headers = request.headers
    message = (
        f"{headers['x-mlflow-delivery-id']}.{headers['x-mlflow-timestamp']}.".encode()
    )
    digest = hmac.new(secret.encode(), message + request.body, hashlib.sha256).digest()
    return headers["x-mlflow-signature"] == f"v1,{base64.b64encode(digest).decode()}"


def test_a_webhook_is_answered_as_mlflow_answers_it(mlflow: Mlflow) -> None:
    created = create(mlflow, description="deploys", secret=SECRET, status="DISABLED")

    at = created.pop("creation_timestamp")
    assert created.pop("last_updated_timestamp") == at > 1_700_000_000_000
    webhook_id = created.pop("webhook_id")
    assert created == {
        "name": "deploy",
        "description": "deploys",
        "url": NOBODY,
        "events": [CREATED],
        "status": "DISABLED",
    }
    shown = mlflow.send("GET", f"{PATH}/{webhook_id}")
    assert SECRET not in shown.get_data(as_text=True)
    assert document_of(shown)["webhook"].items() >= created.items()


def test_one_registry_has_one_list_of_webhooks(mlflow: Mlflow) -> None:
    ours = document_of(mlflow.api.post("/webhooks", {"url": NOBODY}))["id"]
    of_mlflow = document_of(
        mlflow.api.post("/webhooks", {"url": NOBODY, "format": "mlflow"})
    )["id"]
    created = create(mlflow, events=[TAG_SET])

    document = mlflow.api.read(f"/webhooks/{created['webhook_id']}")
    assert document["format"] == "mlflow"
    assert document["event_types"] == ["model_version.tag_set"]
    listed = mlflow.done("GET", PATH)["webhooks"]
    assert [each["webhook_id"] for each in listed] == [created["webhook_id"], of_mlflow]
    # What "*" stands for: what is announced without being asked for by name.
    assert listed[1]["name"] == of_mlflow
    assert [each["entity"] for each in listed[1]["events"]] == [
        *("REGISTERED_MODEL", "MODEL_VERSION"),
        *("MODEL_VERSION_ALIAS", "MODEL_VERSION_ALIAS"),
        *("PROMPT", "PROMPT_VERSION", "PROMPT_ALIAS", "PROMPT_ALIAS"),
    ]
    for method, path in [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/test")]:
        message = mlflow.refused(
            "RESOURCE_DOES_NOT_EXIST", method, f"{PATH}/{ours}{path}"
        )
        assert message == f"Webhook with ID {ours} not found."


@ON_BOTH_DATABASES
def test_webhooks_are_listed_newest_first_page_by_page(mlflow: Mlflow) -> None:
    assert mlflow.done("GET", PATH) == {}
    ids = [create(mlflow, name=f"w{n}")["webhook_id"] for n in range(5)]

    seen: list[str] = []
    token, pages = "", 0
    while token or not pages:
        page = mlflow.done("GET", PATH, max_results="2", page_token=token)
        seen += [each["webhook_id"] for each in page["webhooks"]]
        token, pages = page.get("next_page_token", ""), pages + 1

    assert (seen, pages) == (ids[::-1], 3)
    assert "next_page_token" not in mlflow.done("GET", PATH, max_results="5")


def test_a_page_that_cannot_be_is_refused(mlflow: Mlflow) -> None:
    for number in ("-1", "1001", "many"):
        mlflow.refused("INVALID_PARAMETER_VALUE", "GET", PATH, max_results=number)
    mlflow.refused("INVALID_PARAMETER_VALUE", "GET", PATH, page_token="x")


def test_an_update_changes_what_is_given(mlflow: Mlflow) -> None:
    path = f"{PATH}/{create(mlflow, description='first')['webhook_id']}"
    changes = {
        "name": "other",
        "url": "http://127.0.0.1:9/other",
        "description": "",
        "events": [TAG_SET, TAG_SET],
        "status": "DISABLED",
    }

    changed = mlflow.done("PATCH", path, **changes)["webhook"]

    assert changed["name"] == "other"
    assert changed["url"] == "http://127.0.0.1:9/other"
    assert "description" not in changed
    assert changed["events"] == [TAG_SET]
    assert changed["status"] == "DISABLED"
    nothing = mlflow.done("PATCH", path, name="", url="", events=[])["webhook"]
    assert nothing == changed
    again = mlflow.done("PATCH", path, status="ACTIVE")["webhook"]
    assert again["status"] == "ACTIVE"
    assert mlflow.done("GET", path)["webhook"] == again


@ON_BOTH_DATABASES
def test_a_deleted_webhook_is_not_found_nor_one_that_cannot_be(mlflow: Mlflow) -> None:
    path = f"{PATH}/{create(mlflow)['webhook_id']}"

    assert mlflow.done("DELETE", path) == {}

    for found in (path, f"{PATH}/%00", f"{PATH}/a%20b"):
        for method in ("GET", "PATCH", "DELETE"):
            mlflow.refused("RESOURCE_DOES_NOT_EXIST", method, found)
    assert mlflow.done("GET", PATH) == {}


INVALID: list[tuple[dict[str, Any], str]] = [
    ({"name": None}, "Missing value for required parameter 'name'"),
    ({"name": " "}, "Missing value for required parameter 'name'"),
    ({"name": "-a"}, "Webhook name '-a' is invalid"),
    ({"name": "a" * 64}, "is invalid"),
    ({"name": 5}, "'name'"),
    ({"url": None}, "Missing value for required parameter 'url'"),
    ({"url": "ftp://example.com"}, "Invalid webhook URL"),
    ({"url": "https://a:b@example.com"}, "Invalid webhook URL"),
    ({"url": "https://169.254.169.254/latest"}, "Invalid webhook URL"),
    ({"events": None}, "Missing value for required parameter 'events'"),
    ({"events": []}, "Missing value for required parameter 'events'"),
    ({"events": "REGISTERED_MODEL.CREATED"}, "'events'"),
    ({"events": [{"entity": "REGISTERED_MODEL"}]}, "'action'"),
    ({"events": [{"entity": "MODEL", "action": "CREATED"}]}, "Invalid entity 'MODEL'"),
    (
        {"events": [{"entity": "MODEL_VERSION", "action": "UPDATED"}]},
        "Invalid action 'UPDATED' for entity 'MODEL_VERSION'",
    ),
    ({"events": [{"entity": "model_version", "action": "created"}]}, "Invalid entity"),
    ({"status": "PAUSED"}, "Invalid webhook status 'PAUSED'"),
    ({"secret": "abc"}, "'secret'"),
    ({"description": "a" * 1001}, "'description'"),
]


def test_what_mlflow_refuses_is_refused_and_stores_nothing(mlflow: Mlflow) -> None:
    for fields, said in INVALID:
        sent = {"name": "deploy", "url": NOBODY, "events": [CREATED], **fields}

        message = mlflow.refused("INVALID_PARAMETER_VALUE", "POST", PATH, **sent)

        assert said in message, fields
    assert mlflow.api.read("/webhooks")["items"] == []


def test_budgets_may_be_asked_for_and_are_never_announced(
    mlflow: Mlflow, receiver: Receiver
) -> None:
    budget = {"entity": "BUDGET_POLICY", "action": "EXCEEDED"}

    created = create(mlflow, receiver.url, events=[budget])
    mlflow.create_model()
    deliver(mlflow)

    assert created["events"] == [budget]
    assert receiver.requests == ()


def test_webhooks_are_the_admins(mlflow: Mlflow) -> None:
    path = f"{PATH}/{create(mlflow)['webhook_id']}"
    promoter = mlflow.with_role("promoter")

    for method, of in [
        ("GET", PATH),
        ("POST", PATH),
        ("GET", path),
        ("PATCH", path),
        ("DELETE", path),
        ("POST", f"{path}/test"),
    ]:
        promoter.refused("PERMISSION_DENIED", method, of)


def test_every_change_of_a_webhook_is_in_the_audit_log(mlflow: Mlflow) -> None:
    path = f"{PATH}/{create(mlflow, secret=SECRET)['webhook_id']}"
    mlflow.done("PATCH", path, name="other")
    mlflow.done("POST", f"{path}/test")
    mlflow.done("DELETE", path)

    actions = [
        entry["action"]
        for entry in mlflow.api.audit()
        if entry["action"].startswith("webhook.")
    ]
    assert actions == [
        f"webhook.{done}" for done in ("created", "updated", "tested", "deleted")
    ]
    assert SECRET not in str(mlflow.api.audit())


def test_receivers_are_told_what_mlflow_tells_and_can_verify_it(
    mlflow: Mlflow, receiver: Receiver
) -> None:
    create(mlflow, receiver.url, events=EVERYTHING, secret=SECRET)
    of = {"name": MODEL, "version": "1"}

    mlflow.create_model(tags=[{"key": "team", "value": "risk"}])
    mlflow.create_version(description="first", tags=[{"key": "a", "value": "b"}])
    mlflow.done("POST", "/model-versions/set-tag", **of, key="k", value="v")
    mlflow.done("DELETE", "/model-versions/delete-tag", **of, key="k")
    mlflow.done("DELETE", "/model-versions/delete-tag", **of, key="k")
    mlflow.done("POST", "/registered-models/alias", **of, alias="champion")
    mlflow.done("DELETE", "/registered-models/alias", name=MODEL, alias="champion")
    mlflow.move(1, "Staging")
    deliver(mlflow)

    assert all(is_signed(request, SECRET) for request in receiver.requests)
    told = [request.json() for request in receiver.requests]
    assert [(each["entity"], each["action"]) for each in told] == [
        ("registered_model", "created"),
        ("model_version", "created"),
        ("model_version_tag", "set"),
        ("model_version_tag", "deleted"),
        ("model_version_alias", "created"),
        ("model_version_alias", "deleted"),
    ]
    model, version, tag, *_ = (each["data"] for each in told)
    assert model == {"name": MODEL, "tags": {"team": "risk"}, "description": ""}
    assert (
        version.items()
        >= {
            "name": MODEL,
            "version": "1",
            "tags": {"a": "b"},
            "description": "first",
        }.items()
    )
    assert tag == {"name": MODEL, "version": "1", "key": "k", "value": "v"}


def test_without_a_secret_nothing_is_signed(mlflow: Mlflow, receiver: Receiver) -> None:
    path = f"{PATH}/{create(mlflow, receiver.url, secret=SECRET)['webhook_id']}"
    mlflow.create_model("a")
    deliver(mlflow)
    mlflow.done("PATCH", path, secret="")
    mlflow.create_model("b")
    deliver(mlflow)

    signed, unsigned = receiver.requests
    assert is_signed(signed, SECRET)
    assert "x-mlflow-signature" not in unsigned.headers


def test_events_are_given_back_in_the_order_in_which_they_were_asked_for(
    mlflow: Mlflow,
) -> None:
    backwards = EVERYTHING[::-1]

    created = create(mlflow, events=[*backwards, backwards[0]])

    path = f"{PATH}/{created['webhook_id']}"
    assert created["events"] == backwards
    assert mlflow.done("GET", path)["webhook"]["events"] == backwards
    assert mlflow.done("GET", PATH)["webhooks"][0]["events"] == backwards
    two = [backwards[3], backwards[1]]
    assert mlflow.done("PATCH", path, events=two)["webhook"]["events"] == two


def test_our_own_api_gives_back_the_order_it_was_given(mlflow: Mlflow) -> None:
    types = ["model_version.tag_set", "registered_model.*", "model_version.registered"]
    body = {"url": NOBODY, "format": "mlflow", "event_types": types}

    webhook = document_of(mlflow.api.post("/webhooks", body))

    assert webhook["event_types"] == types
    assert mlflow.api.read(f"/webhooks/{webhook['id']}")["event_types"] == types
    (listed,) = mlflow.done("GET", PATH)["webhooks"]
    assert listed["events"] == [
        TAG_SET,
        CREATED,
        {"entity": "MODEL_VERSION", "action": "CREATED"},
    ]


def test_a_test_that_is_answered_has_no_error(
    mlflow: Mlflow, receiver: Receiver
) -> None:
    path = f"{PATH}/{create(mlflow, receiver.url)['webhook_id']}/test"
    moved = Answer(302, {"Location": "https://new.example/hook?token=hush"})
    receiver.answers = [Answer(404, body=b"no such page"), moved]

    missing = mlflow.done("POST", path)["result"]
    redirected = mlflow.done("POST", path)["result"]

    assert missing == {
        "success": False,
        "response_status": 404,
        "response_body": "no such page",
    }
    assert (redirected["success"], redirected["response_status"]) == (False, 302)
    said = redirected["error_message"]
    assert "a redirect to https://new.example/hook; redirects are not followed" in said


def test_what_failed_is_tried_again_as_soon_as_mlflow_does(mlflow: Mlflow) -> None:
    webhook = mlflow.api.read(f"/webhooks/{create(mlflow)['webhook_id']}")

    assert webhook["schedule_seconds"][:5] == [0, 1, 2, 4, 30]
    assert sum(webhook["schedule_seconds"]) > 7 * 24 * 3600


def test_a_disabled_webhook_holds_what_happens(
    mlflow: Mlflow, receiver: Receiver
) -> None:
    path = f"{PATH}/{create(mlflow, receiver.url, status='DISABLED')['webhook_id']}"
    mlflow.create_model()
    deliver(mlflow)
    assert len(list(receiver.requests)) == 0

    mlflow.done("PATCH", path, status="ACTIVE")
    deliver(mlflow)

    assert [request.json()["data"]["name"] for request in receiver.requests] == [MODEL]


def test_a_test_sends_an_example_and_tells_the_answer(
    mlflow: Mlflow, receiver: Receiver
) -> None:
    events = [CREATED, TAG_SET]
    path = f"{PATH}/{create(mlflow, receiver.url, events=events)['webhook_id']}/test"
    mlflow.done("PATCH", path.removesuffix("/test"), status="DISABLED")
    receiver.answers = [200, 500]

    good = mlflow.done("POST", path)["result"]
    bad = mlflow.done("POST", path, event=TAG_SET)["result"]

    assert good == {"success": True, "response_status": 200, "response_body": ""}
    assert (bad["success"], bad["response_status"]) == (False, 500)
    first, second = [sent.json() for sent in receiver.requests]
    assert first["entity"] == "registered_model"
    assert second["data"]["key"] == "example_key"


def test_a_test_that_reaches_nobody_is_answered_all_the_same(mlflow: Mlflow) -> None:
    path = f"{PATH}/{create(mlflow)['webhook_id']}/test"

    result = mlflow.done("POST", path)["result"]

    assert result.keys() == {"success", "error_message"}
    assert result["success"] is False
    event = {"entity": "MODEL_VERSION", "action": "UPDATED"}
    mlflow.refused("INVALID_PARAMETER_VALUE", "POST", path, event=event)


def test_webhooks_are_served_to_pages_as_well(mlflow: Mlflow) -> None:
    created = create(mlflow)

    listed = Mlflow(mlflow.api, AJAX_ROOT).done("GET", PATH)["webhooks"]

    assert listed == [created]
