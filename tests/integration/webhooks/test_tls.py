"""Private authorities and client certificates, against a receiver that checks."""

import os
import ssl
from pathlib import Path

import pytest
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from tests.certificates import Authority, Credential, encrypted
from tests.hostile_receivers import BODY, DONE, HOST, NOW, make_sender
from tests.integration.webhooks.hostile import hostile_receiver, say
from webhooks.errors import TLSMaterialError
from webhooks.sending.sender import SendResult, Timeouts
from webhooks.sending.tls import MAX_CONTEXTS, PUBLIC, Tls, TlsContexts, make_context

UNUSABLE = "the client certificate or its key cannot be used"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def client(authority: Authority) -> Credential:
    return authority.issue("stagegate.example")


def send_over(tls: Tls, server: ssl.SSLContext) -> SendResult:
    sender = make_sender(Timeouts(5, 5, 10))
    with hostile_receiver(say(DONE), server) as port:
        return sender.send(f"https://{HOST}:{port}/", BODY, {}, now=NOW, tls=tls)


def test_a_private_authority_is_trusted_for_its_receiver_alone(
    authority: Authority,
) -> None:
    server = authority.issue(HOST).server_context()

    trusting = send_over(Tls(ca_certificate=authority.certificate), server)
    public = send_over(PUBLIC, server)
    other = send_over(Tls(ca_certificate=Authority().certificate), server)

    assert trusting.is_delivered
    assert public.error == "TLS: unable to get local issuer certificate"
    assert not other.is_delivered


def test_a_client_certificate_is_shown_to_who_demands_one(
    authority: Authority, client: Credential
) -> None:
    server = authority.issue(HOST).server_context(authority.certificate)
    material = Tls(authority.certificate, client.certificate, client.key)

    with_it = send_over(material, server)
    without = send_over(Tls(authority.certificate), server)

    assert with_it.is_delivered
    assert {"name", "connect", "tls", "first_byte"} == set(with_it.timings)
    assert not without.is_delivered


def test_a_client_key_works_where_there_are_no_memory_files(
    authority: Authority, client: Credential, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    server = authority.issue(HOST).server_context(authority.certificate)

    result = send_over(
        Tls(authority.certificate, client.certificate, client.key), server
    )

    assert result.is_delivered


def test_material_that_is_of_no_use_is_a_failed_attempt(authority: Authority) -> None:
    server = authority.issue(HOST).server_context()

    result = send_over(Tls(ca_certificate="nonsense"), server)

    assert result.error == "the CA certificate cannot be used"


def unusable_clients(authority: Authority, client: Credential) -> list[Tls]:
    stranger = authority.issue("stranger.example")
    return [
        Tls(None, "nonsense", client.key),
        Tls(None, client.certificate, "nonsense"),
        Tls(None, client.certificate, None),
        Tls(None, client.certificate, stranger.key),
        Tls(None, client.certificate, encrypted(client.key, b"locked")),
    ]


def test_unusable_client_material_is_refused_without_asking_for_a_password(
    authority: Authority, client: Credential
) -> None:
    for material in unusable_clients(authority, client):
        with pytest.raises(TLSMaterialError, match=UNUSABLE):
            make_context(material)


def test_every_context_verifies_chain_and_name(authority: Authority) -> None:
    for material in (Tls(), Tls(ca_certificate=authority.certificate)):
        context = make_context(material)

        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_contexts_are_made_once_and_the_last_ones_kept(
    authority: Authority, client: Credential
) -> None:
    contexts = TlsContexts()
    first = Tls(ca_certificate=authority.certificate)
    made = contexts.get(first)

    assert contexts.get(first) is made
    assert contexts.get(PUBLIC) is contexts.get(Tls())
    for number in range(MAX_CONTEXTS):
        pem = f"{authority.certificate}\n# {number}"
        contexts.get(Tls(ca_certificate=pem))
    assert contexts.get(first) is not made
    assert Tls("ab", "c").digest != Tls("a", "bc").digest
    assert client.key not in repr(Tls(client_key=client.key))


def test_the_environment_neither_adds_trust_nor_takes_session_keys(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(authority.certificate + Path(DEFAULT_CA_BUNDLE_PATH).read_text())
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, str(bundle))
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys.log"))
    server = authority.issue(HOST).server_context()

    result = send_over(PUBLIC, server)

    assert result.error == "TLS: unable to get local issuer certificate"
    assert not (tmp_path / "keys.log").exists()
