"""MLflow's own webhooks, but for their deliveries."""

import time
from typing import Any

from tests.mlflow.conformance.cases import section
from tests.mlflow.conformance.world import World

CASES = section(__name__)

PATH = "/webhooks"
TICK_SECONDS = 0.005  # times are told in milliseconds
# An address that needs no name server and is not inside any network.
URL = "https://1.1.1.1/hook"
CREATED = {"entity": "REGISTERED_MODEL", "action": "CREATED"}
PAIRS = (
    ("REGISTERED_MODEL", "CREATED"),
    ("MODEL_VERSION", "CREATED"),
    ("MODEL_VERSION_TAG", "SET"),
    ("MODEL_VERSION_TAG", "DELETED"),
    ("MODEL_VERSION_ALIAS", "CREATED"),
    ("MODEL_VERSION_ALIAS", "DELETED"),
    ("PROMPT", "CREATED"),
    ("PROMPT_VERSION", "CREATED"),
    ("PROMPT_TAG", "SET"),
    ("PROMPT_TAG", "DELETED"),
    ("PROMPT_VERSION_TAG", "SET"),
    ("PROMPT_VERSION_TAG", "DELETED"),
    ("PROMPT_ALIAS", "CREATED"),
    ("PROMPT_ALIAS", "DELETED"),
)
REFUSED_PAIRS = (
    ("REGISTERED_MODEL", "UPDATED"),
    ("MODEL_VERSION", "DELETED"),
    ("MODEL_VERSION_ALIAS", "SET"),
    ("PROMPT", "DELETED"),
    ("PROMPT_ALIAS", "SET"),
)
NO_PAIRS = (("NOTHING", "CREATED"), ("MODEL_VERSION", "MOVED"))
LEGAL_NAMES = (
    *("a", "1", "a1", "1a", "hook123", "web_hook", "web-hook", "web.hook", "WebHook"),
    *("web_hook-123.test", "A" * 63, "1" + "a" * 61 + "1"),
)
REFUSED_NAMES = (
    *("", "-a", "a-", ".a", "a.", "_a", "a_", "a b", "a/b", "a\\b", "x" * 64, "ü"),
    *("   ", "hook<script>", "hook@test", "hook#hash"),
)
REFUSED_URLS = (
    "",
    "http://1.1.1.1/hook",
    "ftp://1.1.1.1/hook",
    "1.1.1.1",
    "1.1.1.1/hook",
    "no_url",
    "https://",
    "https://[no-address",
    "   ",
)
INSIDE = ("https://127.0.0.1/hook", "https://10.0.0.1/hook", "https://[::1]/hook")


def made(world: World, **fields: object) -> dict[str, Any]:
    """A new webhook, as the server answers it."""
    body = {"name": "hook", "url": URL, "events": [CREATED], **fields}
    webhook: dict[str, Any] = world.post(PATH, body).document["webhook"]
    return webhook


@CASES.case
def a_new_webhook_has_what_it_was_made_with(world: World) -> None:
    client = world.client
    hook = client.create_webhook(
        name="hook-1.a_b",
        url=URL,
        events=["registered_model.created", "model_version.created"],
        description="d",
        secret="s" * 24,
    )
    for found in (hook, client.get_webhook(hook.webhook_id)):
        assert (found.name, found.url, found.description) == ("hook-1.a_b", URL, "d")
        assert sorted(str(event) for event in found.events) == [
            "model_version.created",
            "registered_model.created",
        ]
        assert str(found.status) == "ACTIVE"
        assert found.creation_timestamp > 1_600_000_000_000
    client.delete_webhook(hook.webhook_id)


@CASES.case
def the_secret_never_comes_back(world: World) -> None:
    secret = "s" * 24
    hook = made(world, secret=secret)
    answer = world.get(f"{PATH}/{hook['webhook_id']}")
    assert secret not in answer.text
    assert "secret" not in answer.document["webhook"]


@CASES.each(PAIRS)
def an_event_of_mlflow_can_be_asked_for(world: World, pair: tuple[str, str]) -> None:
    event = {"entity": pair[0], "action": pair[1]}
    assert made(world, events=[event])["events"] == [event]


@CASES.each(REFUSED_PAIRS)
def an_event_that_does_not_exist_is_refused(
    world: World, pair: tuple[str, str]
) -> None:
    event = {"entity": pair[0], "action": pair[1]}
    answer = world.post(PATH, {"name": "hook", "url": URL, "events": [event]})
    answer.refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.each(NO_PAIRS, stricter="MLflow fails at a word that it does not know")
def a_word_that_is_no_event_is_refused(world: World, pair: tuple[str, str]) -> None:
    event = {"entity": pair[0], "action": pair[1]}
    answer = world.post(PATH, {"name": "hook", "url": URL, "events": [event]})
    if world.is_mlflow:
        assert answer.status == 500
    else:
        answer.refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.stricter("MLflow keeps passwords in addresses, and gives them back")
def an_address_with_a_password_is_refused(world: World) -> None:
    url = "https://user:pass@1.1.1.1/hook"
    answer = world.post(PATH, {"name": "hook", "url": url, "events": [CREATED]})
    if world.is_mlflow:
        assert answer.status == 200
    else:
        answer.refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.each(LEGAL_NAMES)
def a_name_within_the_rule_is_taken(world: World, name: str) -> None:
    assert made(world, name=name)["name"] == name


@CASES.each(REFUSED_NAMES)
def a_name_outside_the_rule_is_refused(world: World, name: str) -> None:
    answer = world.post(PATH, {"name": name, "url": URL, "events": [CREATED]})
    answer.refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.each(REFUSED_URLS)
def an_address_outside_the_rule_is_refused(world: World, url: str) -> None:
    answer = world.post(PATH, {"name": "hook", "url": url, "events": [CREATED]})
    answer.refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.each(INSIDE)
def an_address_inside_the_network_is_refused(world: World, url: str) -> None:
    answer = world.post(PATH, {"name": "hook", "url": url, "events": [CREATED]})
    answer.refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.case
def a_webhook_without_events_is_refused(world: World) -> None:
    bodies: tuple[dict[str, object], ...] = ({"events": []}, {})
    for body in bodies:
        answer = world.post(PATH, {"name": "hook", "url": URL, **body})
        answer.refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.case
def only_what_is_sent_is_changed(world: World) -> None:
    client = world.client
    hook = made(world, description="old")["webhook_id"]
    changed = client.update_webhook(hook, description="new")
    assert (changed.name, changed.url, changed.description) == ("hook", URL, "new")
    changed = client.update_webhook(hook, status="DISABLED")
    assert str(changed.status) == "DISABLED"
    assert changed.description == "new"
    changed = client.update_webhook(hook, events=["model_version.created"])
    assert [str(event) for event in changed.events] == ["model_version.created"]
    assert str(changed.status) == "DISABLED"


@CASES.case
def everything_can_be_changed_at_once(world: World) -> None:
    hook = world.client.get_webhook(made(world, description="old")["webhook_id"])
    events = ["model_version.created", "registered_model.created"]
    time.sleep(TICK_SECONDS)
    changed = world.client.update_webhook(
        hook.webhook_id,
        name="changed",
        url=f"{URL}/changed",
        description="new",
        events=events,
        secret="t" * 24,
        status="DISABLED",
    )
    assert changed.webhook_id == hook.webhook_id
    assert (changed.name, changed.url) == ("changed", f"{URL}/changed")
    assert (changed.description, str(changed.status)) == ("new", "DISABLED")
    assert [str(event) for event in changed.events] == events
    assert changed.creation_timestamp == hook.creation_timestamp
    assert changed.last_updated_timestamp > hook.last_updated_timestamp


@CASES.each(({"name": ""}, {"url": ""}, {"events": []}, {}))
def what_is_empty_is_not_changed(world: World, body: dict[str, object]) -> None:
    hook = made(world, description="d")
    changed = world.patch(f"{PATH}/{hook['webhook_id']}", body).document["webhook"]
    assert {**changed, "last_updated_timestamp": 0} == {
        **hook,
        "last_updated_timestamp": 0,
    }


@CASES.case
def a_description_can_be_taken_away(world: World) -> None:
    path = f"{PATH}/{made(world, description='d')['webhook_id']}"
    changed = world.patch(path, {"description": ""}).document["webhook"]
    assert not changed.get("description")


@CASES.case
def a_webhook_is_disabled_and_active_again(world: World) -> None:
    hook = made(world, status="DISABLED")
    assert hook["status"] == "DISABLED"
    for status in ("ACTIVE", "DISABLED", "ACTIVE"):
        changed = world.client.update_webhook(hook["webhook_id"], status=status)
        assert str(changed.status) == status


@CASES.each(REFUSED_NAMES[1:])
def a_change_to_a_name_outside_the_rule_is_refused(world: World, name: str) -> None:
    path = f"{PATH}/{made(world)['webhook_id']}"
    world.patch(path, {"name": name}).refuses(400, "INVALID_PARAMETER_VALUE")
    assert world.get(path).document["webhook"]["name"] == "hook"


@CASES.each((*REFUSED_URLS[1:], *INSIDE))
def a_change_to_an_address_outside_the_rule_is_refused(world: World, url: str) -> None:
    path = f"{PATH}/{made(world)['webhook_id']}"
    world.patch(path, {"url": url}).refuses(400, "INVALID_PARAMETER_VALUE")
    assert world.get(path).document["webhook"]["url"] == URL


@CASES.case
def a_change_to_an_event_that_does_not_exist_is_refused(world: World) -> None:
    path = f"{PATH}/{made(world)['webhook_id']}"
    event = {"entity": "MODEL_VERSION", "action": "DELETED"}
    answer = world.patch(path, {"events": [event]})
    answer.refuses(400, "INVALID_PARAMETER_VALUE")
    assert world.get(path).document["webhook"]["events"] == [CREATED]


@CASES.case
def a_deleted_webhook_is_gone(world: World) -> None:
    hook = made(world)["webhook_id"]
    world.client.delete_webhook(hook)
    for method in ("GET", "PATCH", "DELETE"):
        body = {"description": "x"} if method == "PATCH" else {}
        answer = world.send(method, f"{PATH}/{hook}", json=body)
        answer.refuses(404, "RESOURCE_DOES_NOT_EXIST", hook)


@CASES.case
def an_unknown_webhook_is_404(world: World) -> None:
    path = f"{PATH}/no-such-hook"
    for method, of in (
        *(("GET", path), ("PATCH", path), ("DELETE", path)),
        ("POST", f"{path}/test"),
    ):
        body = {"name": "hook"} if method == "PATCH" else {}
        answer = world.send(method, of, json=body)
        answer.refuses(404, "RESOURCE_DOES_NOT_EXIST", "no-such-hook")


@CASES.case
def webhooks_are_listed_in_pages(world: World) -> None:
    hooks = {made(world)["webhook_id"] for _ in range(3)}
    found, token = list[str](), None
    while True:
        page = world.client.list_webhooks(max_results=2, page_token=token)
        assert len(page) <= 2
        found += [hook.webhook_id for hook in page]
        token = page.token
        if not token:
            break
    assert hooks <= set(found)
    assert len(set(found)) == len(found)


@CASES.case
def the_newest_webhook_is_listed_first(world: World) -> None:
    hook = made(world)["webhook_id"]
    first = world.client.list_webhooks(max_results=1)[0]
    assert first.webhook_id == hook


@CASES.each(("garbage", "====", "eyJvZmZzZXQiOiAieCJ9"))
def a_token_that_is_none_is_refused(world: World, token: str) -> None:
    answer = world.get(PATH, page_token=token)
    answer.refuses(400, "INVALID_PARAMETER_VALUE")


@CASES.each((-1, 1001))
def a_page_outside_the_limits_is_refused(world: World, size: int) -> None:
    answer = world.get(PATH, max_results=size)
    answer.refuses(400, "INVALID_PARAMETER_VALUE")
