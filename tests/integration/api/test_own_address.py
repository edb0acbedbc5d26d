"""What a registry tells others of where it is, and whose word it takes for that."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from registry.worker import BackgroundWork
from tests.integration.api.driver import (
    FILES,
    MODEL,
    ROOT,
    Document,
    Driver,
    declared,
    document_of,
)
from tests.integration.api.mutations import (
    MUTATIONS,
    VERSIONS,
    Mutation,
    prepare,
    resolve,
)
from tests.integration.conftest import close_app, make_app, signed_in

PUBLIC_URL = "https://models.example/registry"
VERSION_PATH = f"{ROOT}{VERSIONS}/1"
EVIL_HOSTS = [
    "evil.example",
    "EVIL.example:8000",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evil.example.",
    "10.0.0.1",
    "0.0.0.0:8000",
    "localhost@evil.example",
    "localhost:80@evil.example",
    "localhost/evil.example",
    "localhost?evil.example",
    "[::1]evil.example",
    "[::2]",
    "",
]
#: What proxies tell servers, and anybody may send.
HEADERS = {
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Server": "evil.example",
    "X-Forwarded-Prefix": "/evil.example",
    "X-Original-Host": "evil.example",
    "X-Script-Name": "/evil.example",
    "Forwarded": "host=evil.example;proto=https",
    "Origin": "https://evil.example",
    "Referer": "https://evil.example/",
}


@contextmanager
def registry(directory: Path, **settings: str) -> Iterator[Driver]:
    """A registry with these settings, and version 1 of a model."""
    app = make_app(directory, **settings)
    api = Driver(app, signed_in(app))
    api.create_model()
    api.register()
    yield api
    close_app(app)


def asked_as(api: Driver, host: str, **environ: str) -> Driver:
    """The same registry, asked by this name."""

    class Client(FlaskClient):
        def open(self, *args: Any, **options: Any) -> TestResponse:  # noqa: ANN401  # werkzeug's
            overrides = {"HTTP_HOST": host, **environ}
            return super().open(*args, environ_overrides=overrides, **options)

    client = Client(api.app, api.app.response_class)
    client.environ_base |= api.client.environ_base
    return Driver(api.app, client)


def links_announced(api: Driver) -> Document:
    """The links of the event of a change that is made now."""
    changed = api.patch(f"{VERSIONS}/1", {"description": "changed"})
    assert changed.status_code == 200
    return newest_links(api)


def newest_links(api: Driver) -> Document:
    links: Document = api.read("/events?limit=200")["items"][-1]["data"]["links"]
    return links


def upload_url(api: Driver) -> str:
    answer = api.post(f"{VERSIONS}/1/uploads", {"path": "model.bin", "size_bytes": 1})
    url: str = document_of(answer)["url"]
    return url


def links_below(address: str) -> Document:
    version = f"{address}{VERSION_PATH}"
    page = f"{address}{VERSION_PATH.removeprefix(ROOT)}"
    return {
        "version": version,
        "deployments": f"{version}/deployments",
        "page": page,
    }


@pytest.mark.parametrize(
    "mutation", [each for each in MUTATIONS if each.events], ids=str
)
def test_no_change_stores_what_a_request_says_of_the_server(
    api: Driver, mutation: Mutation
) -> None:
    prepare(api)
    path = resolve(api, mutation.path)
    evil = asked_as(api, "evil.example")

    answer = mutation.send(evil, path, Idempotency_Key="k", **HEADERS)

    assert answer.status_code == mutation.status
    assert "evil.example" not in repr(api.dump())
    assert "evil.example" not in answer.get_data(as_text=True)
    assert "evil.example" not in str(answer.headers)


def test_links_to_a_host_that_anybody_can_name_are_left_out(tmp_path: Path) -> None:
    with registry(tmp_path) as api:
        for host in EVIL_HOSTS:
            evil = asked_as(api, host)

            assert links_announced(evil) == {}, host
            assert upload_url(evil) == f"{VERSION_PATH}/artifacts/model.bin", host


@pytest.mark.parametrize(
    ("listed", "hosts"),
    [
        ("", ["localhost:8000", "127.0.0.1", "[::1]:9"]),
        ("localhost,models.example", ["localhost", "models.example:8000"]),
    ],
)
def test_loopback_and_the_names_that_are_listed_are_believed(
    tmp_path: Path, listed: str, hosts: list[str]
) -> None:
    with registry(tmp_path, ALLOWED_HOSTS=listed) as api:
        for host in hosts:
            asked = asked_as(api, host)

            assert links_announced(asked) == links_below(f"http://{host}")
            assert upload_url(asked) == (
                f"http://{host}{VERSION_PATH}/artifacts/model.bin"
            )


def test_a_pattern_says_who_may_ask_and_not_who_we_are(tmp_path: Path) -> None:
    with registry(tmp_path, ALLOWED_HOSTS=".svc,localhost") as api:
        evil = asked_as(api, "evil.svc")

        assert links_announced(evil) == {}


def test_the_public_address_is_told_whoever_asks_by_whatever_name(
    tmp_path: Path,
) -> None:
    with registry(tmp_path, PUBLIC_URL=f"{PUBLIC_URL}/") as api:
        for host in ("localhost", *EVIL_HOSTS):
            asked = asked_as(api, host, SCRIPT_NAME="/below")

            assert links_announced(asked) == links_below(PUBLIC_URL)
            assert upload_url(asked) == (
                f"{PUBLIC_URL}{VERSION_PATH}/artifacts/model.bin"
            )
        described = document_of(api.client.get("/api/v1/openapi.json"))
    assert described["servers"] == [{"url": PUBLIC_URL}]


def test_what_the_background_changes_has_links_by_the_setting_alone(
    tmp_path: Path,
) -> None:
    for settings, links in (
        ({"PUBLIC_URL": PUBLIC_URL}, links_below(PUBLIC_URL)),
        ({"ALLOWED_HOSTS": "localhost"}, {}),
    ):
        with registry(tmp_path / str(len(links)), **settings) as api:
            finish_in_background(api)

            assert newest_links(api) == links


def finish_in_background(api: Driver) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("registry.services.artifacts.INLINE_FILES", 0)
        for path, content in FILES.items():
            api.put(f"{VERSIONS}/1/artifacts/{path}", data=content)
        api.post(f"{VERSIONS}/1/finalize", declared(FILES))
    BackgroundWork(api.app).complete_registrations()
    assert api.version(1)["status"] == "READY"


def test_the_path_we_are_served_below_is_part_of_every_link(tmp_path: Path) -> None:
    with registry(tmp_path) as api:
        below = asked_as(api, "localhost:8000", SCRIPT_NAME="/a b")

        assert links_announced(below) == links_below("http://localhost:8000/a%20b")
        assert upload_url(below).startswith("http://localhost:8000/a%20b/api/v1/")
        evil = asked_as(api, "evil.example", SCRIPT_NAME="/below")
        assert upload_url(evil) == f"/below{VERSION_PATH}/artifacts/model.bin"


def test_the_description_names_no_host_and_is_right_below_any_path(
    api: Driver,
) -> None:
    path = "/api/v1/openapi.json"

    described = asked_as(api, "evil.example").client.get(path, headers=HEADERS)

    assert "evil.example" not in described.get_data(as_text=True)
    # Seen from the document, as OpenAPI 3 has it: /registry/api/v1/openapi.json.
    assert document_of(described)["servers"] == [{"url": "../.."}]


def test_a_link_is_announced_for_each_model_by_its_own_name(tmp_path: Path) -> None:
    with registry(tmp_path, PUBLIC_URL=PUBLIC_URL) as api:
        api.patch(f"/models/{MODEL}", {"name": "a b%2F"})
        api.patch("/models/a%20b%252F/versions/1", {"description": "x"})

        links = newest_links(api)

    assert links["version"] == f"{PUBLIC_URL}{ROOT}/models/a%20b%252F/versions/1"
