"""The pods of the base, with the settings it gives them, on real services.

- Arguments and variables come from the rendered manifests; the image, the
  read-only root and the uid are those of the cluster. Only addresses, secrets and
  where the secrets lie are the test's own.
"""

import contextlib
import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from registry.domain.token_format import new_token
from tests.deploy.kustomize import Document, render_documents
from tests.deploy.pod import UID, Pod
from tests.services.minio import ObjectStoreServer
from tests.services.processes import free_port, stop, wait_until_ready

pytestmark = [pytest.mark.long, pytest.mark.service]

SECRETS_DIRECTORY = "/run/secrets/stagegate/"
DATA_DIRECTORY = "/var/lib/stagegate/"
POD_ADDRESS = "10.1.2.3:8000"


@pytest.fixture
def token() -> str:
    return new_token()


@pytest.fixture
def settings(
    pod: Pod, postgres_url: str, minio: ObjectStoreServer, token: str
) -> list[str]:
    """The settings of the base, pointed at this machine's services."""
    values = {
        "database-url": postgres_url,
        "secret-key": secrets.token_urlsafe(32),
        "bootstrap-token": token,
        "s3-access-key": minio.access_key,
        "s3-secret-key": minio.secret_key,
    }
    for name, value in values.items():
        (pod.data / name).write_text(value, encoding="utf-8")
        os.chown(pod.data / name, UID, UID)
    (given,) = [
        document["data"]
        for document in render_documents("k8s/base")
        if document["metadata"]["name"].startswith("stagegate-settings")
    ]
    given["STAGEGATE_S3_ENDPOINT_URL"] = minio.endpoint_url
    return [
        f"{name}={value.replace(SECRETS_DIRECTORY, DATA_DIRECTORY)}"
        for name, value in given.items()
    ]


def command_of(name: str, *, port: int = 0) -> list[str]:
    """Variables, program and arguments of the pods called so."""
    (container,) = [
        container
        for document in render_documents("k8s/base")
        if document["metadata"]["name"] == name and "template" in document["spec"]
        for container in document["spec"]["template"]["spec"]["containers"]
    ]
    return [
        *(f"{entry['name']}={entry['value']}" for entry in container.get("env", [])),
        "stagegate",
        *(local(argument, port) for argument in container["args"]),
    ]


def local(argument: str, port: int) -> str:
    """A pod listens on every address of its own; a test on 127.0.0.1 only."""
    every_address = "0.0.0.0"  # noqa: S104 - what the manifest says
    places = {every_address: "127.0.0.1", "8000": str(port), "9100": str(port)}
    return places.get(argument, argument)


@contextlib.contextmanager
def running(
    pod: Pod, command: list[str], log_file: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """The pod's process for the time of the block; told to end, it ends well."""
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            pod.command(*command), stdout=log, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        stop(process)
    assert process.returncode == 0, log_file.read_text("utf-8")


def probe(port: int, container_probe: Document) -> int:
    """The status that the probe of the manifest gets."""
    request = container_probe["httpGet"]
    by_address = {"Host": POD_ADDRESS}  # kubelet asks by it; here it reaches nobody
    try:
        return requests.get(
            f"http://127.0.0.1:{port}{request['path']}", headers=by_address, timeout=2
        ).status_code
    except requests.RequestException:
        return 0


def test_migration_web_and_worker_run_as_the_base_says(
    pod: Pod, settings: list[str], token: str, tmp_path: Path
) -> None:
    port, metrics_port = free_port(), free_port()
    (web_container,) = [
        document["spec"]["template"]["spec"]["containers"][0]
        for document in render_documents("k8s/base")
        if document["metadata"]["name"] == "stagegate-web"
        and document["kind"] == "Deployment"
    ]

    migrated = pod.run(*settings, *command_of("stagegate-migrate"))
    assert migrated.returncode == 0, migrated.stderr
    web = [*settings, *command_of("stagegate-web", port=port)]
    worker = [*settings, *command_of("stagegate-worker", port=metrics_port)]
    with (
        running(pod, web, tmp_path / "web.log") as serving,
        running(pod, worker, tmp_path / "worker.log") as working,
    ):
        wait_until_ready(
            serving,
            lambda: probe(port, web_container["readinessProbe"]) == 200,
            log_file=tmp_path / "web.log",
        )
        answer = requests.get(
            f"http://127.0.0.1:{port}/api/v1/models",
            headers={"Authorization": f"Bearer {token}", "Host": "stagegate"},
            timeout=5,
        )

        assert probe(port, web_container["livenessProbe"]) == 200
        assert answer.json() == {"items": [], "next_cursor": None}
        assert working.poll() is None
        wait_until_ready(
            working,
            lambda: probe(metrics_port, {"httpGet": {"path": "/metrics"}}) == 200,
            log_file=tmp_path / "worker.log",
        )
        assert probe(metrics_port, {"httpGet": {"path": "/healthz"}}) == 200
