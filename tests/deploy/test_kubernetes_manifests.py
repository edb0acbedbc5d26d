"""The manifests as a cluster would get them: rendered, then looked at.

- Validated against the schemas that kubernetes-validate carries; no cluster is
  asked.
- Rules hold for every pod template there is, so that a new one cannot be
  forgotten.
"""

import base64
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from registry.domain.token_format import is_well_formed
from registry.settings import SETTING_NAMES, Settings
from tests.deploy.kustomize import Document, render, render_documents
from tests.deploy.places import CHECKOUT, project_version

BASE = "k8s/base"
DEMO = "k8s/overlays/demo"
#: The oldest and the newest version of Kubernetes the manifests are meant for.
KUBERNETES_VERSIONS = ("1.29", "1.34")
SECRETS_DIRECTORY = "/run/secrets/stagegate/"
UID = 10001
ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - the address of a pod is its own


@pytest.fixture(scope="session", params=[BASE, DEMO])
def documents(request: pytest.FixtureRequest) -> list[Document]:
    return render_documents(request.param)


@pytest.fixture(scope="session")
def base() -> list[Document]:
    return render_documents(BASE)


@pytest.fixture(scope="session")
def demo() -> list[Document]:
    return render_documents(DEMO)


def one(documents: list[Document], kind: str, name: str) -> Document:
    """The one document of this kind that is called so, or begins so."""
    of_kind = [document for document in documents if document["kind"] == kind]
    named = {document["metadata"]["name"]: document for document in of_kind}
    if name in named:
        return named[name]
    # A generated name ends in a digest.
    (found,) = [named[full] for full in named if full.startswith(name)]
    return found


def pods(documents: list[Document]) -> Iterator[tuple[str, Document]]:
    """Every pod specification with the name of what makes the pods."""
    for document in documents:
        template = document.get("spec", {}).get("template")
        if template:
            yield document["metadata"]["name"], template["spec"]


def containers(documents: list[Document]) -> Iterator[tuple[str, Document]]:
    for name, pod in pods(documents):
        for container in pod["containers"] + pod.get("initContainers", []):
            yield name, container


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@pytest.mark.parametrize("directory", [BASE, DEMO])
def test_every_document_is_valid_for_kubernetes(
    directory: str, version: str, tmp_path: Path
) -> None:
    rendered = tmp_path / "rendered.yaml"
    rendered.write_text(render(directory), encoding="utf-8")

    result = subprocess.run(
        [
            *(sys.executable, "-m", "kubernetes_validate", "--strict"),
            *("--kubernetes-version", version, rendered),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )

    passed = re.findall(r"passed for resource", result.stdout + result.stderr)
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(passed) == len(list(yaml.safe_load_all(rendered.read_text())))


def test_every_setting_that_is_named_exists() -> None:
    files = [CHECKOUT / "Dockerfile", *(CHECKOUT / "k8s").rglob("*.*")]
    named = {
        name: file.name
        for file in files
        for name in re.findall(r"\bSTAGEGATE_[A-Z0-9_]+", file.read_text("utf-8"))
    }

    unknown = {name: file for name, file in named.items() if name not in SETTING_NAMES}

    assert unknown == {}
    assert named


def test_every_pod_keeps_the_restricted_standard(documents: list[Document]) -> None:
    for name, pod in pods(documents):
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True, name
        assert context["runAsUser"] > 0, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["enableServiceLinks"] is False, name
    for name, container in containers(documents):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }, name


def test_pods_of_the_registry_run_as_the_uid_of_the_image(base: list[Document]) -> None:
    dockerfile = (CHECKOUT / "Dockerfile").read_text("utf-8")

    users = {
        (pod["securityContext"]["runAsUser"], pod["securityContext"]["fsGroup"])
        for _, pod in pods(base)
    }

    assert users == {(UID, UID)}
    assert f"USER {UID}:{UID}\n" in dockerfile


def test_every_container_has_requests_and_limits(documents: list[Document]) -> None:
    for name, container in containers(documents):
        for bound in ("requests", "limits"):
            assert set(container["resources"][bound]) == {
                "cpu",
                "memory",
                "ephemeral-storage",
            }, name


def test_what_is_written_goes_to_bounded_volumes(documents: list[Document]) -> None:
    for name, pod in pods(documents):
        for volume in pod["volumes"]:
            bounded = "sizeLimit" in volume.get("emptyDir", {"sizeLimit": ""})
            assert bounded, name
            assert "hostPath" not in volume, name


def test_web_is_probed_and_drained(documents: list[Document]) -> None:
    deployment = one(documents, "Deployment", "stagegate-web")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    paths = {
        probe: container[probe]["httpGet"]["path"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }

    assert paths == {
        "startupProbe": "/healthz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }
    assert container["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "5"]
    assert pod["terminationGracePeriodSeconds"] == 45
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_worker_is_probed_by_its_heartbeats_alone(documents: list[Document]) -> None:
    pod = one(documents, "Deployment", "stagegate-worker")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (opened,) = container["ports"]

    for name in ("startupProbe", "livenessProbe"):
        asked = container[name]["httpGet"]
        assert (asked["path"], asked["port"]) == ("/healthz", opened["name"])
    # Nobody sends requests to a worker, and no outage of the database restarts it.
    assert "readinessProbe" not in container


def test_probes_ask_by_the_address_of_the_pod(base: list[Document]) -> None:
    """As kubelet does unless told otherwise; the registry answers to any name."""
    pod = one(base, "Deployment", "stagegate-web")["spec"]["template"]["spec"]

    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert "httpHeaders" not in pod["containers"][0][probe]["httpGet"], probe


def test_settings_of_the_base_with_the_secrets_of_the_demo_are_accepted(
    base: list[Document], demo: list[Document], tmp_path: Path
) -> None:
    settings = one(base, "ConfigMap", "stagegate-settings")["data"]
    secrets = one(demo, "Secret", "stagegate-secrets")["data"]
    for name, value in secrets.items():
        (tmp_path / name).write_bytes(base64.b64decode(value))

    accepted = Settings.from_env(
        {
            name: value.replace(SECRETS_DIRECTORY, f"{tmp_path}/")
            for name, value in settings.items()
        }
    )

    assert accepted.artifact_root == "s3://stagegate/artifacts"
    assert not accepted.is_embedded
    assert is_well_formed(accepted.bootstrap_token)


def test_what_serves_others_in_the_demo_is_probed(demo: list[Document]) -> None:
    for name in ("postgresql", "minio"):
        pod = one(demo, "StatefulSet", name)["spec"]["template"]["spec"]
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(
            pod["containers"][0]
        )


def test_web_and_worker_and_migration_run_one_image(base: list[Document]) -> None:
    commands = {
        name: (container["image"], container["args"])
        for name, container in containers(base)
    }

    (image,) = {image for image, _ in commands.values()}
    assert {name: args for name, (_, args) in commands.items()} == {
        "stagegate-web": ["serve", "--host", ANY_ADDRESS, "--port", "8000"],
        "stagegate-worker": [
            "worker",
            *("--metrics-host", ANY_ADDRESS, "--metrics-port", "9100"),
        ],
        "stagegate-migrate": ["db", "upgrade"],
    }
    assert image.startswith("stagegate:")


def test_deliveries_are_left_to_the_worker(base: list[Document]) -> None:
    environments = {
        name: {entry["name"]: entry["value"] for entry in container.get("env", [])}
        for name, container in containers(base)
    }

    assert environments["stagegate-web"]["STAGEGATE_DELIVER"] == "false"
    assert environments["stagegate-worker"] == {}


def test_web_outlives_the_loss_of_a_pod(base: list[Document]) -> None:
    for name in ("stagegate-web", "stagegate-worker"):
        labels = one(base, "Deployment", name)["spec"]["selector"]["matchLabels"]
        budget = one(base, "PodDisruptionBudget", name)["spec"]
        assert one(base, "Deployment", name)["spec"]["replicas"] >= 2
        assert budget["maxUnavailable"] == 1
        assert budget["selector"]["matchLabels"] == labels


def test_service_reaches_the_web_pods_alone(documents: list[Document]) -> None:
    selector = one(documents, "Service", "stagegate")["spec"]["selector"].items()

    chosen = {
        document["metadata"]["name"]
        for document in documents
        if selector
        <= document.get("spec", {})
        .get("template", {})
        .get("metadata", {})
        .get("labels", {})
        .items()
    }

    assert chosen == {"stagegate-web"}


def test_every_pod_says_where_its_metrics_are(documents: list[Document]) -> None:
    for name, argument in (
        ("stagegate-web", "--port"),
        ("stagegate-worker", "--metrics-port"),
    ):
        template = one(documents, "Deployment", name)["spec"]["template"]
        (container,) = template["spec"]["containers"]
        (opened,) = container["ports"]
        served = container["args"][container["args"].index(argument) + 1]
        assert template["metadata"]["annotations"] == {
            "prometheus.io/scrape": "true",
            "prometheus.io/path": "/metrics",
            "prometheus.io/port": served,
        }
        assert str(opened["containerPort"]) == served


def test_workers_are_scraped_pod_by_pod(documents: list[Document]) -> None:
    service = one(documents, "Service", "stagegate-worker")["spec"]
    deployment = one(documents, "Deployment", "stagegate-worker")["spec"]
    (container,) = deployment["template"]["spec"]["containers"]

    assert service["clusterIP"] == "None"
    assert service["selector"] == deployment["selector"]["matchLabels"]
    (port,) = service["ports"]
    assert port["targetPort"] in {opened["name"] for opened in container["ports"]}


def test_base_holds_no_secret(base: list[Document]) -> None:
    settings = one(base, "ConfigMap", "stagegate-settings")["data"]
    secrets = {name for name in SETTING_NAMES if f"{name}_FILE" in SETTING_NAMES}

    given = set(settings) | {
        entry["name"]
        for _, container in containers(base)
        for entry in container.get("env", [])
    }

    assert given & secrets == set()
    assert [document for document in base if document["kind"] == "Secret"] == []


def test_secrets_the_base_reads_are_in_the_demo_and_in_the_readme(
    base: list[Document], demo: list[Document]
) -> None:
    settings = one(base, "ConfigMap", "stagegate-settings")["data"]
    readme = (CHECKOUT / "k8s/README.md").read_text("utf-8")

    keys = {
        path.removeprefix(SECRETS_DIRECTORY)
        for path in settings.values()
        if path.startswith(SECRETS_DIRECTORY)
    }

    assert set(one(demo, "Secret", "stagegate-secrets")["data"]) == keys
    assert {key for key in keys if f"`{key}`" not in readme} == set()


def test_every_secret_of_the_demo_says_that_it_is_one() -> None:
    text = (CHECKOUT / DEMO / "kustomization.yaml").read_text("utf-8")
    generated = yaml.safe_load(text)["secretGenerator"]

    literals = [literal for secret in generated for literal in secret["literals"]]
    words = [literal.lower().replace("-", "") for literal in literals]

    assert [word for word in words if "demoonly" not in word] == []


def test_policy_in_the_cluster_is_the_policy_of_the_checkout(
    base: list[Document],
) -> None:
    deployed = one(base, "ConfigMap", "stagegate-policy")["data"]

    assert deployed == {
        name: (CHECKOUT / "config" / name).read_text("utf-8")
        for name in ("policy.toml", "policy-open.toml", "policy-strict.toml")
    }


def test_every_volume_that_is_mounted_is_given(documents: list[Document]) -> None:
    claims = {
        document["metadata"]["name"]: {
            claim["metadata"]["name"]
            for claim in document["spec"].get("volumeClaimTemplates", [])
        }
        for document in documents
        if document["kind"] == "StatefulSet"
    }
    for name, pod in pods(documents):
        given = {volume["name"] for volume in pod["volumes"]} | claims.get(name, set())
        for container in pod["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} == given


def test_image_and_manifests_name_the_version_of_the_project(
    base: list[Document],
) -> None:
    version = project_version()

    images = {container["image"] for _, container in containers(base)}

    assert images == {f"stagegate:{version}"}
    assert f"ARG VERSION={version}\n" in (CHECKOUT / "Dockerfile").read_text("utf-8")
