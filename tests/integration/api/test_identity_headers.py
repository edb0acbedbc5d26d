"""Identity headers of a trusted proxy, and a server where everybody is an admin."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask import Flask
from flask.testing import FlaskClient

from registry.cli.main import stagegate
from tests.integration.api.driver import ROOT, document_of, problem_of
from tests.integration.conftest import TOKEN, close_app, make_app
from tests.server import RunningServer, running_server, server_environment

SECRET = "proxy-secret-of-no-value-" * 2
PROXY = "10.1.2.3"
WHOAMI = f"{ROOT}/whoami"
USER = "X-Forwarded-User"
GOOD = {
    "X-Stagegate-Proxy-Secret": SECRET,
    USER: "5f0c",
    "X-Forwarded-Preferred-Username": "ann",
    "X-Forwarded-Email": "ann@example.com",
    "X-Forwarded-Groups": "ml-engineers, risk",
}


@pytest.fixture(scope="module")
def behind_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    app = make_app(
        tmp_path_factory.mktemp("proxied"),
        TRUSTED_PROXIES="10.1.0.0/16",
        PROXY_SECRET=SECRET,
    )
    yield app
    close_app(app)


@pytest.fixture
def proxy(behind_proxy: Flask) -> FlaskClient:
    client = behind_proxy.test_client()
    client.environ_base["REMOTE_ADDR"] = PROXY
    return client


def test_proxy_says_who_somebody_is(proxy: FlaskClient) -> None:
    answer = proxy.get(WHOAMI, headers=GOOD)

    problem = problem_of(answer, 403, "forbidden")  # known, and bound to no role yet
    assert "ann (no role)" in str(problem["detail"])


@pytest.mark.parametrize("name", ["José", "Łukasz"])
def test_name_is_read_as_proxies_write_it(proxy: FlaskClient, name: str) -> None:
    sent = {**GOOD, "X-Forwarded-Preferred-Username": name.encode().decode("latin-1")}

    problem = problem_of(proxy.get(WHOAMI, headers=sent), 403, "forbidden")

    assert f"{name} (no role)" in str(problem["detail"])


def test_name_in_another_encoding_is_read_as_it_is(proxy: FlaskClient) -> None:
    sent = {**GOOD, "X-Forwarded-Preferred-Username": "Jos\xe9"}

    problem = problem_of(proxy.get(WHOAMI, headers=sent), 403, "forbidden")

    assert "José (no role)" in str(problem["detail"])


@pytest.mark.parametrize(
    ("headers", "detail"),
    [
        ({"X-Stagegate-Proxy-Secret": ""}, "operator's proxies"),
        ({"X-Stagegate-Proxy-Secret": SECRET[:-1]}, "operator's proxies"),
        ({"X-Stagegate-Proxy-Secret": f"{SECRET},{SECRET}"}, "operator's proxies"),
        ({"X-Stagegate-Proxy-Secret": "é"}, "operator's proxies"),
        ({USER: "ann,root"}, "has a comma"),
        ({USER: "ann, "}, "has a comma"),
        ({"X-Forwarded-Email": "a@example.com,b@example.com"}, "has a comma"),
        ({"X-Forwarded-Preferred-Username": "ann,root"}, "has a comma"),
        ({USER: ""}, "is missing"),
        ({USER: "a" * 256}, "subject"),
        ({USER: "a\x7fb"}, "no text"),
    ],
)
def test_t1_headers_that_are_not_the_proxys_are_refused(
    proxy: FlaskClient, headers: dict[str, str], detail: str
) -> None:
    answer = proxy.get(WHOAMI, headers={**GOOD, **headers})

    assert detail in str(problem_of(answer, 401, "unauthenticated")["detail"])


@pytest.mark.parametrize("address", ["10.2.0.1", "127.0.0.1", "::1", "", "192.0.2.1"])
def test_t1_headers_from_another_address_are_refused(
    behind_proxy: Flask, address: str
) -> None:
    client = behind_proxy.test_client()
    client.environ_base["REMOTE_ADDR"] = address

    answer = client.get(WHOAMI, headers={**GOOD, "X-Forwarded-For": PROXY})

    problem_of(answer, 401, "unauthenticated")


@pytest.mark.parametrize("name", [USER, "X-Forwarded-Email", "X-Forwarded-Groups"])
def test_t1_any_identity_header_without_the_secret_is_refused(
    proxy: FlaskClient, name: str
) -> None:
    problem_of(proxy.get(WHOAMI, headers={name: "ann"}), 401, "unauthenticated")


def test_who_comes_without_headers_signs_in_by_a_token(proxy: FlaskClient) -> None:
    problem_of(proxy.get(WHOAMI), 401, "unauthenticated")
    answer = proxy.get(WHOAMI, headers={"Authorization": f"Bearer {TOKEN}", **GOOD})
    assert document_of(answer)["name"] == "bootstrap"


def test_t15_what_a_proxy_passes_on_is_held_to_where_it_comes_from(
    proxy: FlaskClient,
) -> None:
    answer = proxy.post(
        f"{ROOT}/models",
        json={"name": "m"},
        headers={**GOOD, "Sec-Fetch-Site": "cross-site"},
    )

    problem_of(answer, 403, "cross-origin")


def test_t1_headers_mean_nothing_where_no_proxy_is_set(client: FlaskClient) -> None:
    anonymous = client.application.test_client()

    problem_of(anonymous.get(WHOAMI, headers=GOOD), 401, "unauthenticated")
    assert document_of(client.get(WHOAMI, headers=GOOD))["name"] == "bootstrap"


@pytest.fixture(scope="module")
def proxied_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(
        tmp_path_factory.mktemp("server"),
        TRUSTED_PROXIES="127.0.0.1",
        PROXY_SECRET=SECRET,
    ) as server:
        yield server


def raw(server: RunningServer, *lines: str) -> tuple[int, dict[str, Any]]:
    """Ask who is signed in, with header lines as they are."""
    head = [f"GET {WHOAMI} HTTP/1.1", f"Host: 127.0.0.1:{server.port}", *lines]
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as link:
        link.sendall("\r\n".join([*head, "Connection: close", "", ""]).encode())
        answer = b"".join(iter(lambda: link.recv(65536), b""))
    start, _, body = answer.partition(b"\r\n\r\n")
    return int(start.split(b" ", 2)[1]), json.loads(body)


def lines(**changes: str) -> list[str]:
    return [f"{name}: {value}" for name, value in {**GOOD, **changes}.items()]


def test_t2_headers_reach_us_as_the_proxy_sent_them(
    proxied_server: RunningServer,
) -> None:
    status, problem = raw(proxied_server, *lines())

    assert status == 403
    assert "ann (no role)" in problem["detail"]


@pytest.mark.parametrize(
    "smuggled",
    [
        [f"{USER}: root"],
        ["x-forwarded-user: root"],
        ["X-FORWARDED-USER: root"],
        ["X-Forwarded-Groups: admins"],
        ["X-Forwarded-Email: root@example.com"],
        ["X-Stagegate-Proxy-Secret: guess"],
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_t2_header_that_stands_twice_is_refused(
    proxied_server: RunningServer, smuggled: list[str], *, is_first: bool
) -> None:
    sent = [*smuggled, *lines()] if is_first else [*lines(), *smuggled]

    status, problem = raw(proxied_server, *sent)

    assert status == 401, problem


@pytest.mark.parametrize(
    "name",
    ["X_Forwarded_User", "X-Forwarded_User", "x_forwarded-user", "X_FORWARDED_USER"],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_t2_name_with_an_underscore_is_another_header(
    proxied_server: RunningServer, name: str, *, is_first: bool
) -> None:
    smuggled = f"{name}: root"
    sent = [smuggled, *lines()] if is_first else [*lines(), smuggled]

    status, problem = raw(proxied_server, *sent)

    assert status == 403
    assert "ann (no role)" in problem["detail"]
    status, _ = raw(proxied_server, smuggled, f"X_Stagegate_Proxy_Secret: {SECRET}")
    assert status == 401


def test_t1_client_that_a_proxy_names_is_not_the_proxy(tmp_path: Path) -> None:
    with running_server(
        tmp_path, TRUSTED_PROXIES="10.1.0.0/16", PROXY_SECRET=SECRET
    ) as server:
        # uvicorn believes 127.0.0.1 about clients; who connects is still 127.0.0.1.
        status, _ = raw(server, *lines(), "X-Forwarded-For: 10.1.2.3")

    assert status == 401


def test_proxy_on_this_machine_names_its_client_and_is_known(
    proxied_server: RunningServer,
) -> None:
    status, _ = raw(proxied_server, *lines(), "X-Forwarded-For: 203.0.113.7")

    assert status == 403  # known, without a role


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[FlaskClient]:
    app = make_app(tmp_path, INSECURE_DEV="true")
    yield app.test_client()
    close_app(app)


def test_everybody_on_this_machine_is_an_admin_where_that_is_set(
    dev: FlaskClient,
) -> None:
    assert document_of(dev.get(WHOAMI)) == {
        "name": "developer",
        "kind": "user",
        "roles": ["admin"],
        "scopes": None,
    }
    assert dev.post(f"{ROOT}/models", json={"name": "m"}).status_code == 201


def test_cookie_of_another_server_here_changes_nothing(dev: FlaskClient) -> None:
    dev.set_cookie("stagegate", "of-a-server-on-another-port")

    assert document_of(dev.get(WHOAMI))["name"] == "developer"


def test_t23_nobody_elsewhere_is_an_admin(dev: FlaskClient) -> None:
    dev.environ_base["REMOTE_ADDR"] = "192.0.2.1"
    problem_of(dev.get(WHOAMI), 401, "unauthenticated")

    dev.environ_base["REMOTE_ADDR"] = "127.0.0.1"
    for name in ("X-Forwarded-For", "Forwarded", "X-Forwarded-Host"):
        answer = dev.get(WHOAMI, headers={name: "192.0.2.1"})
        problem_of(answer, 401, "unauthenticated")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "ml.local"])
def test_t15_no_page_gives_this_machine_a_name_of_its_own(
    dev: FlaskClient, host: str
) -> None:
    assert dev.get(WHOAMI, base_url=f"http://{host}").status_code == 400
    assert dev.get(WHOAMI, base_url="http://127.0.0.1:8000").status_code == 200
    assert dev.get(WHOAMI, base_url="http://[::1]:8000").status_code == 200


def test_t15_no_page_elsewhere_acts_as_the_developer(dev: FlaskClient) -> None:
    answer = dev.post(
        f"{ROOT}/models", json={"name": "m"}, headers={"Origin": "https://evil.example"}
    )

    problem_of(answer, 403, "cross-origin")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "ml.example"])  # noqa: S104  # it is refused
def test_t23_everybody_an_admin_is_refused_where_others_reach_it(
    tmp_path: Path, host: str
) -> None:
    environment = server_environment(tmp_path, INSECURE_DEV="true")

    result = CliRunner().invoke(stagegate, ["serve", "--host", host], env=environment)

    assert result.exit_code == 2
    assert "STAGEGATE_INSECURE_DEV makes everybody an admin" in result.stderr
    assert not (tmp_path / "data" / "stagegate.db").exists()
