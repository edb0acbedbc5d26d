"""``stagegate demo`` as a user starts it: a process, from an empty directory."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from registry.demo.receiver import Receiver
from tests.services.processes import wait_until_ready
from tests.waiting import STALL_SECONDS

pytestmark = pytest.mark.long

DEMO = (sys.executable, "-m", "registry.cli.main", "demo")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    return {**os.environ, "TMPDIR": str(temporary), "STAGEGATE_URL": "http://elsewhere"}


def tell(
    environment: dict[str, str], directory: Path, *options: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DEMO, *options],
        env=environment,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=STALL_SECONDS,
        check=False,
    )


def test_story_is_told_to_its_end_and_leaves_nothing(
    environment: dict[str, str], tmp_path: Path
) -> None:
    ended = tell(environment, tmp_path)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Allowed from None: Staging" in ended.stdout
    assert "digits version 1 is now in Production (rollback)" in ended.stdout
    assert ended.stdout.count(" verified\n") == 12
    assert "REFUSED" not in ended.stdout
    assert "in 2 chains: intact." in ended.stdout
    assert "With one word of it edited: entry 9 is damaged" in ended.stdout
    assert list(Path(environment["TMPDIR"]).glob("stagegate-demo-*")) == []
    with pytest.raises(requests.ConnectionError):
        requests.get(address_in(ended.stdout), timeout=2)


def test_kept_server_goes_on_and_is_stopped_as_the_story_says(
    environment: dict[str, str], tmp_path: Path
) -> None:
    ended = tell(environment, tmp_path, "--keep")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    pid = int(found(r"kill (\d+)", ended.stdout))
    try:
        url = found(r"STAGEGATE_URL=(\S+)", ended.stdout)
        token = found(r"STAGEGATE_TOKEN=(\S+)", ended.stdout)
        holder = requests.get(
            f"{url}/api/v1/models/digits/stages/Production",
            headers={"Authorization": f"Bearer {token}"},
            timeout=10,
        )
        assert holder.json()["version"] == 1
    finally:
        os.kill(pid, signal.SIGTERM)


def test_interrupted_story_stops_its_server(
    environment: dict[str, str], tmp_path: Path
) -> None:
    output = tmp_path / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            DEMO, env=environment, cwd=tmp_path, stdout=file, stderr=file
        )
    wait_until_ready(
        process,
        lambda: "answers after" in output.read_text(encoding="utf-8"),
        log_file=output,
    )
    process.send_signal(signal.SIGINT)

    assert process.wait(STALL_SECONDS) == 130
    assert list(Path(environment["TMPDIR"]).glob("stagegate-demo-*")) == []
    with pytest.raises(requests.ConnectionError):
        requests.get(address_in(output.read_text(encoding="utf-8")), timeout=2)


def test_request_with_a_wrong_signature_is_refused_and_shown() -> None:
    with Receiver() as receiver:
        receiver.secret = "whsec_" + "A" * 32
        answer = requests.post(
            receiver.url,
            data=b'{"type": "webhook.ping", "data": {}}',
            headers={
                "webhook-id": "msg_1",
                "webhook-timestamp": "1795180800",
                "webhook-signature": "v1,AAAA",
            },
            timeout=10,
        )

    assert answer.status_code == 401
    assert [one.is_verified for one in receiver.received] == [False]


def address_in(text: str) -> str:
    return found(r"(http://127\.0\.0\.1:\d+) answers", text)


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match, text
    return match[1]
