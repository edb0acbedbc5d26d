"""What a receiver believes, judged by the libraries of others."""

import base64
import hashlib
import hmac
import importlib.util
import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook
from svix.webhooks import Webhook as SvixWebhook

import webhooks.receiver
from webhooks.receiver import (
    MalformedError,
    Receiver,
    ReceiverError,
    SignatureError,
    TooOldError,
)
from webhooks.sending.prepare import new_private_key, new_secret, public_key_of, sign

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SECRET = new_secret()
EVENT = {
    "type": "model_version.stage_changed",
    "timestamp": "2026-11-20T11:59:59.000000Z",
    "data": {"model": "fraud", "version": 7, "sequence": 17},
}
BODY = json.dumps(EVENT).encode()
# The vectors that the Svix server is tested with, both over the same message.
VECTOR_AT = datetime.fromtimestamp(1614265330, UTC)
VECTOR_BODY = b'{"test": 2432232314}'
VECTOR_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
VECTOR_KEY = (
    "6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9l"
    "MicMFs6Kvg=="
)
VECTOR_HEADERS = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
}
V1 = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
V1A = (
    "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl"
    "8EM+m7TBAg=="
)
MODULE = Path(webhooks.receiver.__file__)


def public_key(private_key: str) -> str:
    """The ``whpk_`` of a private key: the seed, then the public key."""
    return "whpk_" + base64.b64encode(base64.b64decode(private_key)[32:]).decode()


def signed(body: bytes = BODY, *, at: datetime = NOW, **more: str) -> dict[str, str]:
    return sign("msg_1", at, body, [SECRET]) | more


@pytest.mark.parametrize(
    ("secret", "signature"), [(VECTOR_SECRET, V1), (public_key(VECTOR_KEY), V1A)]
)
def test_the_published_vectors_are_believed(secret: str, signature: str) -> None:
    """They are no events, which is noticed only once the signature is believed."""
    headers = VECTOR_HEADERS | {"webhook-signature": f"v2,x {signature}"}

    with pytest.raises(MalformedError):
        Receiver(secret).receive(headers, VECTOR_BODY, VECTOR_AT)
    with pytest.raises(SignatureError):
        Receiver(secret).receive(headers, VECTOR_BODY + b" ", VECTOR_AT)


@given(st.text())
def test_what_both_libraries_sign_is_believed(text: str) -> None:
    data = {"text": text, "sequence": 1, "model": "fraud"}
    body = json.dumps(EVENT | {"data": data}, ensure_ascii=False)
    body = body.encode(errors="replace").decode()
    stamp = {"webhook-id": "msg_1", "webhook-timestamp": str(int(NOW.timestamp()))}

    for library in (Webhook, SvixWebhook):
        signature = library(SECRET).sign("msg_1", NOW, body)
        headers = stamp | {"webhook-signature": signature}
        message = Receiver(SECRET).receive(headers, body.encode(), NOW)

        assert message.data["sequence"] == 1


@given(st.data())
def test_a_receiver_believes_no_more_than_the_libraries(data: st.DataObject) -> None:
    headers = sign("msg_1", datetime.now(UTC), BODY, [SECRET])
    name = data.draw(st.sampled_from(sorted(headers)))
    place = data.draw(st.integers(0, len(headers[name]) - 1))
    letter = data.draw(st.characters(min_codepoint=33, max_codepoint=126))
    changed = headers[name][:place] + letter + headers[name][place + 1 :]
    broken = headers | {name: changed}

    if is_believed_by_libraries(broken):
        assert Receiver(SECRET).receive(broken, BODY).type == EVENT["type"]
    else:
        with pytest.raises(ReceiverError):
            Receiver(SECRET).receive(broken, BODY)


def is_believed_by_libraries(headers: dict[str, str]) -> bool:
    verdicts = []
    for library in (Webhook, SvixWebhook):
        try:
            library(SECRET).verify(BODY, headers)
        except Exception:  # noqa: BLE001  # One raises binascii.Error for bad base64.
            verdicts.append(False)
        else:
            verdicts.append(True)
    assert len(set(verdicts)) == 1
    return verdicts[0]


def test_current_and_previous_secret_are_believed_while_they_overlap() -> None:
    old, new = new_secret(), new_secret()
    both = sign("msg_1", NOW, BODY, [new, old])
    late = sign("msg_2", NOW, BODY, [old])

    for secrets in (old, new, [new, old], (old,)):
        assert Receiver(secrets).receive(both, BODY, NOW).is_new
    assert Receiver([new, old]).receive(late, BODY, NOW).is_new
    with pytest.raises(SignatureError):
        Receiver(new).receive(late, BODY, NOW)


def test_a_secret_and_a_public_key_are_believed_side_by_side() -> None:
    private_key = new_private_key()
    key = public_key_of(private_key)
    v1 = signed()["webhook-signature"]
    v1a = sign("msg_1", NOW, BODY, [private_key])["webhook-signature"]

    for signature in (v1, v1a, f"{v1a} {v1}"):
        headers = signed() | {"webhook-signature": signature}
        assert Receiver([key, SECRET]).receive(headers, BODY, NOW).is_new
    with pytest.raises(SignatureError):
        Receiver(key).receive(signed(), BODY, NOW)
    with pytest.raises(SignatureError):
        Receiver(key).receive(signed() | {"webhook-signature": "v1a,***"}, BODY, NOW)


@pytest.mark.parametrize(
    "wrong",
    [
        {"webhook-id": ""},
        {"webhook-id": "msg_1.1"},
        {"webhook-id": "msg 1"},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": "-5"},
        {"webhook-timestamp": "1e9"},
        {"webhook-timestamp": "٣"},
        {"webhook-signature": ""},
        {"webhook-signature": "v1"},
        {"webhook-signature": "v1,é\udce9"},
        {"webhook-signature": "v1a,AAAA"},
        {"webhook-signature": signed(b"{}")["webhook-signature"]},
    ],
)
def test_a_request_without_a_good_signature_is_refused_with_401(
    wrong: dict[str, str],
) -> None:
    with pytest.raises(SignatureError) as refusal:
        Receiver(SECRET).receive(signed() | wrong, BODY, NOW)

    assert refusal.value.status == 401
    assert SECRET not in str(refusal.value)


def test_of_very_many_signatures_only_the_first_are_tried() -> None:
    good = signed()["webhook-signature"]

    Receiver(SECRET).receive(
        signed() | {"webhook-signature": "v1,x " * 31 + good}, BODY, NOW
    )
    with pytest.raises(SignatureError):
        Receiver(SECRET).receive(
            signed() | {"webhook-signature": "v1,x " * 32 + good}, BODY, NOW
        )


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_request_signed_at_another_time_is_refused(minutes: int) -> None:
    at = NOW - timedelta(minutes=minutes)

    with pytest.raises(TooOldError) as refusal:
        Receiver(SECRET).receive(signed(at=at), BODY, NOW)

    assert refusal.value.status == 400
    assert Receiver(SECRET, tolerance=timedelta(minutes=7)).receive(
        signed(at=at), BODY, NOW
    )


@pytest.mark.parametrize("seconds", [-300, 300])
def test_five_minutes_are_not_too_old(seconds: int) -> None:
    at = NOW - timedelta(seconds=seconds)

    assert Receiver(SECRET).receive(signed(at=at), BODY, NOW).is_new


@pytest.mark.parametrize(
    "event",
    [
        b"",
        b"\xff",
        b"[]",
        b'"text"',
        b"{}",
        b"[" * 100_000,
        json.dumps(EVENT | {"timestamp": "2026-11-20T12:00:00"}).encode(),
        json.dumps(EVENT | {"timestamp": 5}).encode(),
        json.dumps(EVENT | {"type": None}).encode(),
        json.dumps(EVENT | {"data": []}).encode(),
    ],
)
def test_a_signed_body_that_is_no_event_is_refused(event: bytes) -> None:
    # The signing module takes text alone, so the last word is the library's.
    headers = signed(b"{}")
    text = f"msg_1.{headers['webhook-timestamp']}.".encode() + event
    headers["webhook-signature"] = signature_of(text)

    with pytest.raises(MalformedError) as refusal:
        Receiver(SECRET).receive(headers, event, NOW)

    assert refusal.value.status == 400


def signature_of(text: bytes) -> str:
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    digest = hmac.new(key, text, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def test_a_message_says_what_happened() -> None:
    headers = {name.title(): value for name, value in signed().items()}
    headers["Webhook-Deployment-Token"] = "sg_dep_x"

    message = Receiver(SECRET).receive(headers, BODY, NOW)

    assert (message.id, message.type) == ("msg_1", EVENT["type"])
    assert message.timestamp == NOW - timedelta(seconds=1)
    assert message.data == EVENT["data"]
    assert message.deployment_token == "sg_dep_x"
    assert not message.is_replay
    assert "sg_dep_x" not in repr(message)


def test_the_present_is_the_default() -> None:
    headers = signed(at=datetime.now(UTC))

    assert Receiver(SECRET).receive(headers, BODY).is_new


@pytest.mark.parametrize(
    "secrets",
    [
        [],
        "",
        "plain",
        "whsec_***",
        "whsec_" + base64.b64encode(b"k" * 23).decode(),
        "whpk_" + base64.b64encode(b"k" * 31).decode(),
        "whsk_" + base64.b64encode(b"k" * 64).decode(),
        [SECRET, "plain"],
    ],
)
def test_a_receiver_without_a_good_secret_is_refused(secrets: Any) -> None:  # noqa: ANN401
    with pytest.raises(ValueError, match=r"secret|key"):
        Receiver(secrets)


@pytest.fixture
def without_cryptography(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module as it is where ``cryptography`` is not installed."""
    for name in [*sys.modules]:
        if name.partition(".")[0] == "cryptography":
            monkeypatch.setitem(sys.modules, name, None)
    spec = importlib.util.spec_from_file_location("copied_receiver", MODULE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "copied_receiver", module)
    spec.loader.exec_module(module)
    return module


def test_without_cryptography_secrets_work_and_public_keys_are_refused(
    without_cryptography: ModuleType,
) -> None:
    receiver = without_cryptography.Receiver(SECRET)

    assert receiver.receive(signed(), BODY, NOW).is_new
    with pytest.raises(ValueError, match="needs the package cryptography"):
        without_cryptography.Receiver(public_key(VECTOR_KEY))


def test_a_copied_file_works_on_the_standard_library_alone(tmp_path: Path) -> None:
    shutil.copy(MODULE, tmp_path / "stagegate_receiver.py")
    program = (
        "import json, sys; sys.path.insert(0, '.');"
        "from datetime import UTC, datetime;"
        "from stagegate_receiver import Receiver;"
        "secret, headers, body = json.load(sys.stdin);"
        f"now = datetime.fromtimestamp({NOW.timestamp()}, UTC);"
        "print(Receiver(secret).receive(headers, body.encode(), now).standing)"
    )

    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program],
        input=json.dumps([SECRET, signed(), BODY.decode()]),
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )

    assert ended.stdout == "new\n"
