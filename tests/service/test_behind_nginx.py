"""Served below a path by a real nginx, with the lines of the README."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
import requests

from registry.client import RegistryClient
from tests.receiver import Receiver
from tests.server import RunningServer, running_server
from tests.services.nginx import readme_lines, run_nginx
from tests.services.processes import free_port

pytestmark = pytest.mark.service

PREFIX = "/registry"
#: What must be encoded in a path, and what a proxy could decode once too often.
MODEL = "größe 100%2F?&#;'\"+=@"
FILES = {
    "weights.bin": bytes(range(256)) * 8192,  # more than nginx takes by default
    "deep er/naïve%20.txt": b"text",
    "100% #?&+;.txt": b"odd",
}


@dataclass(frozen=True)
class Proxied:
    """A server, and where nginx serves it."""

    server: RunningServer
    url: str

    def client(self) -> RegistryClient:
        return RegistryClient(self.url, self.server.token)

    def get(self, url: str, **query: str) -> requests.Response:
        assert url.startswith(f"{self.url}/"), url
        answer = self.server.http().get(url, params=query, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer


@pytest.fixture(scope="module", params=["stripped", "kept"])
def proxied(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxied]:
    """The path is taken away by nginx, or by the server."""
    lines = readme_lines("takes /registry away")
    port = free_port()
    url = f"http://127.0.0.1:{port}{PREFIX}"
    directory, below = tmp_path_factory.mktemp("server"), ""
    if request.param == "kept":
        lines, below = lines.replace("127.0.0.1:8000/;", "127.0.0.1:8000;"), PREFIX
    with (
        running_server(directory, below=below, PUBLIC_URL=url) as server,
        run_nginx(lines, {8000: server.port}, port=port),
    ):
        yield Proxied(server, url)


def write(directory: Path) -> Path:
    for path, content in FILES.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(content)
    return directory


def read(directory: Path) -> dict[str, bytes]:
    return {
        file.relative_to(directory).as_posix(): file.read_bytes()
        for file in directory.rglob("*")
        if file.is_file()
    }


def test_client_works_below_the_path_with_any_names(
    proxied: Proxied, tmp_path: Path
) -> None:
    with proxied.client() as client:
        client.ensure_model(MODEL)
        number = client.register(MODEL, write(tmp_path / "model")).version
        client.promote(MODEL, number, "Staging")
        client.set_alias(MODEL, "champion", number)
        client.download(MODEL, number, tmp_path / "got")

        assert client.get_alias(MODEL, "champion").stage == "Staging"
    assert read(tmp_path / "got") == FILES


def test_links_and_upload_addresses_lead_through_the_proxy(
    proxied: Proxied, receiver: Receiver
) -> None:
    with proxied.client() as client:
        client.ensure_model(MODEL)
        version = client.begin_version(MODEL)
        created = client.webhooks.create(receiver.url, event_types=["model_version.*"])
        client.update_version(MODEL, version.version, description="told")
        (request,) = receiver.wait_for(1)
        client.webhooks.delete(created.id)
    links = request.json()["data"]["links"]

    assert proxied.get(links["version"]).json()["description"] == "told"
    assert proxied.get(links["deployments"]).json()["items"] == []
    http = proxied.server.http()
    upload = http.post(
        f"{links['version']}/uploads",
        json={"path": "naïve%20.txt", "size_bytes": 1},
        timeout=10,
    ).json()
    assert upload["url"].startswith(f"{proxied.url}/api/v1/models/")
    assert http.put(upload["url"], data=b"x", timeout=10).status_code == 201


def test_mlflow_downloads_lead_through_the_proxy(
    proxied: Proxied, tmp_path: Path
) -> None:
    with proxied.client() as client:
        client.ensure_model("fraud")
        number = client.register("fraud", write(tmp_path / "model")).version
    api = f"{proxied.url}/api/2.0/mlflow"

    uri = proxied.get(
        f"{api}/model-versions/get-download-uri", name="fraud", version=str(number)
    ).json()["artifact_uri"]

    root, _, version_id = uri.rpartition("/")
    listed = proxied.get(root, path=version_id).json()["files"]
    assert {"path": "deep er", "is_dir": True} in listed
    assert proxied.get(f"{uri}/weights.bin").content == FILES["weights.bin"]
    assert proxied.get(f"{uri}/deep%20er/na%C3%AFve%2520.txt").content == b"text"


def test_page_to_try_the_api_at_works_below_the_path(proxied: Proxied) -> None:
    page = f"{proxied.url}/api/v1/docs"
    assets = re.findall(r'(?:src|href)="(docs/[^"]+)"', proxied.get(page).text)
    start = proxied.get(urljoin(page, "docs/start.js")).text
    document = urljoin(page, re.findall(r'url: "([^"]+)"', start)[0])

    described: dict[str, Any] = proxied.get(document).json()

    assert len(assets) == 3
    for asset in assets:
        proxied.get(urljoin(page, asset))
    assert described["servers"] == [{"url": proxied.url}]
    assert "/api/v1/models" in described["paths"]


def test_description_of_a_server_without_a_public_url_is_right_below_a_path(
    tmp_path: Path,
) -> None:
    lines = readme_lines("takes /registry away")
    with (
        running_server(tmp_path) as server,
        run_nginx(lines, {8000: server.port}) as url,
    ):
        document = f"{url}{PREFIX}/api/v1/openapi.json"
        http = server.http()

        (described,) = http.get(document, timeout=10).json()["servers"]

        base = urljoin(document, described["url"]).rstrip("/")
        assert base == f"{url}{PREFIX}"
        assert http.get(f"{base}/api/v1/models", timeout=10).status_code == 200
