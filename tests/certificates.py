"""Certificates for receivers and senders, made anew for each test."""

import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Credential:
    """A certificate and its key, both as PEM text."""

    certificate: str
    key: str

    def server_context(self, client_authority: str | None = None) -> ssl.SSLContext:
        """Serve with it; with an authority, demand a client certificate of it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(self.certificate + self.key)
            file.flush()
            context.load_cert_chain(file.name)
        if client_authority is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=client_authority)
        return context


class Authority:
    """Signs certificates; ``certificate`` is its own, as PEM text."""

    def __init__(self, name: str = "An authority for tests") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        built = _build(self._name, self._key, DAY).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        signed = built.issuer_name(self._name).sign(self._key, hashes.SHA256())
        self.certificate = _pem(signed)

    def issue(self, host: str, *, valid_for: timedelta = DAY) -> Credential:
        """Sign a certificate for a host name; a negative time is over already."""
        key = ec.generate_private_key(ec.SECP256R1())
        built = _build(_name(host), key, valid_for).add_extension(
            x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False
        )
        signed = built.issuer_name(self._name).sign(self._key, hashes.SHA256())
        return Credential(_pem(signed), _key_pem(key))


def self_signed(host: str) -> Credential:
    """Make a certificate that nobody else vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    built = _build(_name(host), key, DAY).add_extension(
        x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False
    )
    signed = built.issuer_name(_name(host)).sign(key, hashes.SHA256())
    return Credential(_pem(signed), _key_pem(key))


def encrypted(key_pem: str, password: bytes) -> str:
    """Lock a key with a password."""
    key = serialization.load_pem_private_key(key_pem.encode(), None)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password),
    ).decode()


def _build(
    subject: x509.Name, key: ec.EllipticCurvePrivateKey, valid_for: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 2 * DAY)
        .not_valid_after(now + valid_for)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
