"""The examples as files, and the pieces of them that tests run."""

import re
import shlex
from pathlib import Path
from typing import Any

import yaml

EXAMPLES = Path(__file__).parents[3] / "webhooks" / "examples"
GITHUB = EXAMPLES / "github-workflow.yml"
GITLAB = EXAMPLES / "gitlab-ci.yml"
JENKINS = EXAMPLES / "Jenkinsfile"
ARGO = EXAMPLES / "argo-events.yaml"
TEKTON = EXAMPLES / "tekton-trigger.yaml"
FLASK = EXAMPLES / "flask_receiver.py"
README = EXAMPLES / "README.md"

Document = dict[Any, Any]

# What Groovy makes of a backslash between three single quotes.
_GROOVY_ESCAPES = {"\\n": "\n", '\\"': '"', "\\\\": "\\", "\\\n": ""}


def documents(path: Path) -> list[Document]:
    """The YAML documents of a file."""
    return list(yaml.safe_load_all(path.read_text("utf-8")))


def document(path: Path, kind: str) -> Document:
    """The one document of a kind."""
    (found,) = [one for one in documents(path) if one["kind"] == kind]
    return found


def github_job() -> Document:
    job: Document = documents(GITHUB)[0]["jobs"]["deploy"]
    return job


def jenkins_script() -> str:
    """The script of the Jenkinsfile, as the shell gets it."""
    (literal,) = re.findall(r"sh '''(.*?)'''", JENKINS.read_text("utf-8"), re.DOTALL)
    return re.sub(
        r"\\.", lambda found: _GROOVY_ESCAPES[found[0]], literal, flags=re.DOTALL
    )


def argo_job() -> Document:
    job: Document = _argo_trigger()["source"]["resource"]
    return job


def argo_parameters() -> list[Document]:
    parameters: list[Document] = _argo_trigger()["parameters"]
    return parameters


def _argo_trigger() -> Document:
    trigger: Document = document(ARGO, "Sensor")["spec"]["triggers"][0]["template"]
    return dict(trigger["k8s"])


def tekton_run() -> Document:
    (run,) = document(TEKTON, "TriggerTemplate")["spec"]["resourcetemplates"]
    return dict(run)


def scripts() -> dict[str, str]:
    """Every shell script of the examples, by where it stands."""
    container = argo_job()["spec"]["template"]["spec"]["containers"][0]
    gitlab = documents(GITLAB)[0]
    return {
        **{
            f"github {step['name']}": step["run"]
            for step in github_job()["steps"]
            if "run" in step
        },
        **{
            f"gitlab {name} {part}": "\n".join(gitlab[name].get(part, ()))
            for name in ("hello", "deploy")
            for part in ("before_script", "script")
        },
        "jenkins": jenkins_script(),
        "argo": container["command"][-1],
        "tekton": tekton_run()["spec"]["taskSpec"]["steps"][0]["script"],
        "readme": "\n".join(readme_blocks()),
    }


def readme_blocks() -> list[str]:
    """The shell blocks of the README."""
    return re.findall(r"```sh\n(.*?)```", README.read_text("utf-8"), re.DOTALL)


def readme_command(example: Path) -> list[str]:
    """The arguments of ``stagegate`` that subscribe an example, after the program."""
    _, _, section = README.read_text("utf-8").partition(f"\n## {example.name}\n")
    block = re.search(r"```sh\n(stagegate webhooks create .*?)```", section, re.DOTALL)
    assert block is not None, example.name
    return shlex.split(block[1].replace("\\\n", " "))[1:]
