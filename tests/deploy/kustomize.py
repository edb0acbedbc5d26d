"""Renders the manifests: what a cluster would be given.

- ``kubectl kustomize`` does it; where there is no kubectl, the program that
  kubectl carries, ``kustomize``, from PATH, the cache, or built into the cache
  once where Go is there (a minute).
- Without either the test says so, and fails with ``CI=true``.
"""

import shutil
import subprocess
from typing import Any

import yaml

from tests.deploy.places import CHECKOUT, cache_directory
from tests.services import go_build
from tests.services.absence import report_absence

MODULE = "sigs.k8s.io/kustomize/kustomize/v5@v5.5.0"

Document = dict[str, Any]


def render(directory: str) -> str:
    """The YAML documents of the kustomization in ``directory`` of the checkout."""
    return subprocess.run(
        [*_renderer(), directory],
        cwd=CHECKOUT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
    ).stdout


def render_documents(directory: str) -> list[Document]:
    return list(yaml.safe_load_all(render(directory)))


def _renderer() -> list[str]:
    if shutil.which("kubectl"):
        return ["kubectl", "kustomize"]
    cached = cache_directory() / "bin" / "kustomize"
    program = shutil.which("kustomize") or (str(cached) if cached.exists() else "")
    if program:
        return [program, "build"]
    if not go_build.can_build():
        report_absence("no kubectl and no kustomize, and no Go to build it")
    go_build.build(MODULE, cached)
    return [str(cached), "build"]
