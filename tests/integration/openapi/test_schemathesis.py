"""schemathesis over the OpenAPI document, as every role, against a real server.

``schemathesis.toml`` says what is checked and why what is not. The length is
``STAGEGATE_TEST_SCHEMATHESIS_SECONDS``; the lower roles, which may do less, get a
third of it.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.integration.openapi.seeded import ANSWER_SECONDS, seed, token_of_role
from tests.lengths import Lengths
from tests.server import RunningServer, running_server

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
SHARES = {"admin": 1, "promoter": 3, "writer": 3, "viewer": 3}
# It ends what it is doing after its time is up, on a machine that may be busy.
GRACE_SECONDS = 180
# Nothing leaves this machine: nothing is delivered, and no address is allowed.
SETTINGS = {
    "DELIVER": "false",
    "WEBHOOK_ALLOWED_NETWORKS": "",
    "WEBHOOK_ALLOW_HTTP": "false",
}

pytestmark = pytest.mark.long


@pytest.mark.parametrize("role", SHARES)
def test_schemathesis_finds_nothing_as_any_role(role: str, tmp_path: Path) -> None:
    lengths = Lengths.from_env(os.environ)
    with running_server(tmp_path, **SETTINGS) as server:
        seed(server)
        token, token_id = token_of_role(server, role)
        ran = run_schemathesis(
            server,
            environment={
                "STAGEGATE_TEST_TOKEN": token,
                "STAGEGATE_TEST_TOKEN_ID": token_id,
            },
            seconds=max(1, lengths.schemathesis_seconds // SHARES[role]),
        )
        sys.stdout.write(ran.stdout)
        assert ran.returncode == 0, ran.stdout
        assert_signed_in(server, token)
        assert_chains_intact(server)
        assert "request_failed" not in server.log_file.read_text()


def run_schemathesis(
    server: RunningServer, *, environment: dict[str, str], seconds: int
) -> subprocess.CompletedProcess[str]:
    """Run it in a process of its own, which its hooks and its settings expect."""
    command = (
        *(sys.executable, "-m", "schemathesis.cli"),
        *("--config-file", str(HERE / "schemathesis.toml")),
        *("run", f"{server.url}/api/v1/openapi.json"),
        *("--max-time", str(seconds), "--no-color"),
    )
    return subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        cwd=server.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds + GRACE_SECONDS,
        check=False,
    )


def assert_signed_in(server: RunningServer, token: str) -> None:
    """Had it revoked its own token, it would have tested nothing but 401."""
    answer = requests.get(
        f"{server.url}/api/v1/whoami",
        headers={"Authorization": f"Bearer {token}"},
        timeout=ANSWER_SECONDS,
    )
    assert answer.status_code == 200, answer.text


def assert_chains_intact(server: RunningServer) -> None:
    answer = server.http().get(
        f"{server.url}/api/v1/audit/verify", timeout=ANSWER_SECONDS
    )
    assert answer.json()["ok"], answer.text
