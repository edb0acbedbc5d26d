"""Certificates and keys of an endpoint, judged before they are saved.

- A certificate is shown and stored in clear, so a text with a private key in it is
  refused there.
- What is saved was loaded once by ``cryptography`` and once by OpenSSL, which also
  knows whether the key fits the certificate. Nothing of a key is ever quoted.
"""

from webhooks.errors import InvalidSubscriptionError, TLSMaterialError
from webhooks.sending.tls import Tls, make_context
from webhooks.specs import MAX_PEM_LENGTH


def check_certificates(ca: str | None, client: str | None, key: str | None) -> None:
    """Refuse what cannot be used, each part as PEM text.

    Raises:
        InvalidSubscriptionError: names the field at fault.
    """
    if (client is None) != (key is None):
        missing = "client_key" if key is None else "client_certificate"
        raise InvalidSubscriptionError(
            missing, "a client certificate and its key are given together"
        )
    if ca is not None:
        _check("ca_certificate", ca, Tls(ca_certificate=ca))
    if client is not None:
        material = Tls(client_certificate=client, client_key=key)
        _check("client_certificate", client, material)


def _check(field: str, certificate: str, material: Tls) -> None:
    if "PRIVATE KEY" in certificate:
        raise InvalidSubscriptionError(field, "must not have a private key in it")
    if not certificate.isascii() or "\0" in certificate:
        raise InvalidSubscriptionError(field, "must be ASCII text")
    if len(certificate) > MAX_PEM_LENGTH or len(material.client_key or "") > (
        MAX_PEM_LENGTH
    ):
        raise InvalidSubscriptionError(
            field, f"must have at most {MAX_PEM_LENGTH} characters"
        )
    # Loaded here: few endpoints need it, and it holds a megabyte.
    from cryptography import x509  # noqa: PLC0415

    try:
        x509.load_pem_x509_certificates(certificate.encode())
        make_context(material)
    except (ValueError, TLSMaterialError) as error:
        raise InvalidSubscriptionError(
            field,
            "must be PEM certificates that OpenSSL can use, with a key that fits and"
            " is not encrypted"
            if material.client_key
            else "must be PEM certificates that OpenSSL can use",
        ) from error
