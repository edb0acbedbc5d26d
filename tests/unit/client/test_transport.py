"""How requests are sent, repeated and answered."""

import socket
import threading
from pathlib import Path

import pytest
from urllib3 import HTTPResponse

from registry import errors
from registry.client import RegistryClient
from registry.client.connection import BoundedRetry
from registry.client.transport import Transport, path_of
from tests.unit.fake_registry import (
    Answer,
    FakeRegistry,
    json_answer,
    model_document,
    transition_document,
    version_document,
)


@pytest.mark.parametrize(
    ("slug", "status", "kind"),
    [
        ("not-found", 404, errors.NotFoundError),
        ("artifact-not-found", 404, errors.ArtifactNotFoundError),
        ("conflict", 409, errors.ConflictError),
        ("webhook-loop", 409, errors.ConflictError),
        ("cursor-expired", 410, errors.CursorExpiredError),
        ("stale", 412, errors.StaleExpectationError),
        ("invalid", 422, errors.InvalidInputError),
        ("malformed", 400, errors.InvalidInputError),
        ("too-large", 413, errors.InvalidInputError),
        ("idempotency-mismatch", 422, errors.IdempotencyMismatchError),
        ("unauthenticated", 401, errors.NotSignedInError),
        ("forbidden", 403, errors.PermissionDeniedError),
        ("self-approval", 403, errors.PermissionDeniedError),
        ("alias-refused", 409, errors.AliasRefusedError),
        ("artifact-changed", 409, errors.ArtifactChangedError),
        ("transition-refused", 409, errors.TransitionRefusedError),
        ("internal", 500, errors.RegistryError),
        ("something-new", 418, errors.RegistryError),
    ],
)
def test_each_problem_type_becomes_its_error(
    fake: FakeRegistry,
    client: RegistryClient,
    *,
    slug: str,
    status: int,
    kind: type[errors.RegistryError],
) -> None:
    fake.problem("GET", "/whoami", slug, status=status)

    with pytest.raises(errors.RegistryError) as caught:
        client.whoami()

    assert type(caught.value) is kind or kind is errors.InvalidInputError
    assert isinstance(caught.value, kind)
    assert caught.value.message == f"about {slug}"


@pytest.mark.parametrize("key", ["ж", "a\nb", "a\rX: y", "é", "\0"])
def test_what_no_header_can_say_is_refused_before_it_is_sent(
    fake: FakeRegistry, client: RegistryClient, key: str
) -> None:
    with pytest.raises(errors.InvalidInputError, match="ASCII") as caught:
        client.transition("fraud", 1, "Staging", idempotency_key=key)
    with pytest.raises(errors.InvalidInputError):
        client.update_version("fraud", 1, if_match=f'"{key}"', description="x")

    assert caught.value.field == "Idempotency-Key"
    assert fake.asked == []


def test_a_refusal_carries_what_is_allowed(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.problem(
        "POST",
        "/models/fraud/versions/1/transitions",
        "transition-refused",
        status=409,
        from_stage="None",
        to_stage="Production",
        allowed=["Staging"],
        reasons=["not allowed from None"],
    )

    with pytest.raises(errors.TransitionRefusedError) as caught:
        client.transition("fraud", 1, "Production")

    assert caught.value.from_stage == "None"
    assert caught.value.to_stage == "Production"
    assert caught.value.allowed == ("Staging",)
    assert caught.value.reasons == ("not allowed from None",)


def test_a_changed_artifact_carries_the_differences(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.problem(
        "GET", "/whoami", "artifact-changed", status=409, differences=["a: gone"]
    )

    with pytest.raises(errors.ArtifactChangedError) as caught:
        client.whoami()

    assert caught.value.differences == ("a: gone",)


def test_invalid_input_names_every_field_however_deep(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.problem(
        "POST",
        "/models",
        "invalid",
        status=422,
        errors={"name": ["too long"], "tags": {"a": {"value": ["no text"]}}, "x": "y"},
    )

    with pytest.raises(errors.InvalidInputError) as caught:
        client.create_model("n")

    assert caught.value.field == "name"
    assert caught.value.message.splitlines()[1:] == [
        "name: too long",
        "tags.a.value: no text",
        "x: y",
    ]
    assert caught.value.facts == {
        "errors": {"name": ["too long"], "tags.a.value": ["no text"], "x": ["y"]}
    }


def test_invalid_input_without_fields_has_no_facts(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.problem("GET", "/whoami", "invalid", status=422)

    with pytest.raises(errors.InvalidInputError) as caught:
        client.whoami()

    assert caught.value.facts == {}
    assert caught.value.field is None


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, errors.NotSignedInError),
        (403, errors.PermissionDeniedError),
        (404, errors.NotFoundError),
        (409, errors.ConflictError),
        (412, errors.StaleExpectationError),
        (500, errors.RegistryError),
    ],
)
@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        ("text/html", b"<h1>no</h1>"),
        ("application/json", b"{"),
        ("application/json", b"[]"),
    ],
)
def test_an_answer_that_is_no_problem_document_is_judged_by_its_status(
    fake: FakeRegistry,
    client: RegistryClient,
    *,
    status: int,
    kind: type[errors.RegistryError],
    media_type: str,
    body: bytes,
) -> None:
    answer = Answer(status, body, {"Content-Type": media_type})
    fake.on("GET", "/api/v1/whoami", lambda _: answer)

    with pytest.raises(errors.RegistryError, match=f"answered {status}") as caught:
        client.whoami()

    assert type(caught.value) is kind


@pytest.mark.parametrize("body", [b"<html>", b"[1]"])
def test_a_success_that_is_no_json_object_is_an_error(
    fake: FakeRegistry, client: RegistryClient, body: bytes
) -> None:
    fake.on("GET", "/api/v1/whoami", lambda _: Answer(200, body))

    with pytest.raises(errors.RegistryError, match="is this a registry"):
        client.whoami()


def test_a_record_without_its_name_is_an_error(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.json("GET", "/models/fraud", {"description": "x"})

    with pytest.raises(errors.RegistryError, match="not a RegisteredModel"):
        client.get_model("fraud")


def test_reads_are_repeated_after_a_gateway_error(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.on("GET", "/api/v1/whoami", lambda _: Answer(502), lambda _: Answer(503))
    fake.json("GET", "/whoami", {"name": "ci"})

    assert client.whoami() == {"name": "ci"}
    assert len(fake.asked) == 3


def test_reads_end_as_unreachable_when_the_gateway_stays_broken(
    fake: FakeRegistry, client: RegistryClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "registry.client.connection.BoundedRetry.sleep", lambda *_: None
    )
    fake.on("GET", "/api/v1/whoami", lambda _: Answer(504))

    with pytest.raises(errors.ServerUnreachableError, match="504"):
        client.whoami()

    assert len(fake.asked) == 4


def test_a_change_is_repeated_under_one_key(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    path = "/models/fraud/versions/2/transitions"
    fake.on("POST", f"/api/v1{path}", lambda _: Answer(502))
    fake.json("POST", path, transition_document())

    client.transition("fraud", 2, "Production", idempotency_key="job-1")

    keys = [one.headers["Idempotency-Key"] for one in fake.asked]
    assert keys == ["job-1", "job-1"]


def test_each_change_has_a_key_of_its_own_unless_given(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.json("POST", "/models/fraud/rollback", transition_document())

    client.rollback("fraud")
    client.rollback("fraud")

    keys = {one.headers["Idempotency-Key"] for one in fake.asked}
    assert len(keys) == 2


def test_what_answers_with_a_secret_is_sent_once(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.on("POST", "/api/v1/webhooks", lambda _: Answer(502))

    with pytest.raises(errors.ServerUnreachableError):
        client.webhooks.create("https://ci.example.com/hook")

    assert len(fake.asked) == 1
    assert "Idempotency-Key" not in fake.asked[0].headers


@pytest.mark.parametrize(
    ("asked_seconds", "waited_seconds"), [("3600", 30.0), ("2", 2.0), (None, None)]
)
def test_retry_after_is_followed_within_bounds(
    asked_seconds: str | None, waited_seconds: float | None
) -> None:
    headers = {} if asked_seconds is None else {"Retry-After": asked_seconds}

    assert (
        BoundedRetry().get_retry_after(HTTPResponse(headers=headers)) == waited_seconds
    )


def test_a_closed_port_is_an_unreachable_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "registry.client.connection.BoundedRetry.sleep", lambda *_: None
    )
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

    with (
        RegistryClient(f"http://127.0.0.1:{port}") as client,
        pytest.raises(errors.ServerUnreachableError, match="Connection refused"),
    ):
        client.whoami()


def test_a_silent_server_is_unreachable(fake: FakeRegistry) -> None:
    go_on = threading.Event()

    def wait(_: object) -> Answer:
        go_on.wait(5)
        return Answer(200)

    fake.on("DELETE", "/api/v1/tokens/1", wait)
    with RegistryClient(fake.url, timeout_seconds=0.1) as client:
        with pytest.raises(errors.ServerUnreachableError):
            client.tokens.revoke("1")
        go_on.set()


def test_a_number_that_json_lacks_is_invalid(client: RegistryClient) -> None:
    with pytest.raises(errors.InvalidInputError, match="JSON"):
        client.register("fraud", "s3://models/1", metrics={"auc": float("nan")})


def test_the_token_is_sent_and_netrc_is_not_read(
    fake: FakeRegistry,
    client: RegistryClient,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login mallory password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    fake.json("GET", "/whoami", {})

    client.whoami()

    assert fake.asked[0].headers["Authorization"] == "Bearer sg_pat_test"


def test_without_a_token_nothing_is_signed(fake: FakeRegistry) -> None:
    fake.json("GET", "/whoami", {})

    with RegistryClient(fake.url) as client:
        client.whoami()

    assert "Authorization" not in fake.asked[0].headers


def test_a_redirected_api_call_is_an_error_that_names_the_address(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.on(
        "GET",
        "/api/v1/whoami",
        lambda _: Answer(301, headers={"Location": "https://new.example.com/?a=b"}),
    )

    with pytest.raises(errors.RegistryError, match=r"https://new\.example\.com/;"):
        client.whoami()


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8000", "ftp://host", "http://", "http://a:b@host", "http://h:99999",
     "http://h?x=1", "http://h#x", "http://[::1"],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(errors.InvalidInputError) as caught:
        RegistryClient(url)

    assert caught.value.field == "url"


@pytest.mark.parametrize(
    "url", ["http://host/sub", "http://host/sub/", "http://host/sub/api/v1/"]
)
def test_an_address_is_taken_with_or_without_the_api_path(url: str) -> None:
    transport = Transport(url, None, timeout_seconds=1)

    assert transport.url_of("/models") == "http://host/sub/api/v1/models"
    transport.close()


@pytest.mark.parametrize("token", ["a b", "a\nb", "é"])
def test_a_token_with_strange_characters_is_refused(token: str) -> None:
    with pytest.raises(errors.InvalidInputError, match="characters no token has"):
        RegistryClient("http://host", token)


def test_a_token_may_have_a_line_end_of_its_file() -> None:
    RegistryClient("http://host", "abc\n").close()


def test_a_path_escapes_what_would_lead_elsewhere() -> None:
    assert path_of("models", "a/b?c d") == "/models/a%2Fb%3Fc%20d"


@pytest.mark.parametrize("segment", ["", ".", ".."])
def test_a_path_refuses_segments_that_mean_another_place(segment: str) -> None:
    with pytest.raises(errors.InvalidInputError):
        path_of("models", segment)


def test_a_list_is_followed_page_after_page(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    pages = {
        None: {"items": [model_document("a")], "next_cursor": "c1"},
        "c1": {"items": [model_document("b")], "next_cursor": None},
    }
    fake.on(
        "GET",
        "/api/v1/models",
        lambda asked: json_answer(pages[asked.query.get("cursor")]),
    )

    assert [model.name for model in client.models()] == ["a", "b"]
    assert {one.query["limit"] for one in fake.asked} == {"200"}


def test_a_list_is_fetched_only_as_far_as_it_is_read(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.json(
        "GET",
        "/models/fraud/versions",
        {"items": [version_document()], "next_cursor": "more"},
    )

    next(client.versions("fraud"))

    assert len(fake.asked) == 1
