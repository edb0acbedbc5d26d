"""The MinIO client with bounded waiting, and the translation of its errors.

Rules:

- No call waits longer than ``CONNECT_TIMEOUT_SECONDS`` for a connection and
  ``READ_TIMEOUT_SECONDS`` for the next bytes; the SDK's own default is 5 minutes.
- Redirects are not followed: a signed request goes to the endpoint only.
- Certificates are checked against the system's store and certifi's; the variable
  ``SSL_CERT_FILE`` of OpenSSL replaces the former, for a private authority.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import certifi
import urllib3
from minio import Minio
from minio.error import MinioException, S3Error
from urllib3.exceptions import HTTPError, MaxRetryError

from registry.artifacts.store import S3Access
from registry.errors import (
    ArtifactAccessDeniedError,
    ArtifactChangedError,
    ArtifactNotFoundError,
    ArtifactStoreError,
    BucketNotFoundError,
    ConfigurationError,
    InvalidInputError,
    RegistryError,
)

CONNECT_TIMEOUT_SECONDS = 5.0
READ_TIMEOUT_SECONDS = 60.0

_POOL_CONNECTIONS = 10
_NOT_FOUND = {
    "NoSuchKey": ArtifactNotFoundError,
    "NoSuchVersion": ArtifactNotFoundError,
    "NoSuchBucket": BucketNotFoundError,
}
# XMinioInvalidObjectName: a key that MinIO's own file system could not hold.
# BadRequest is what the SDK makes of a HEAD that was refused, which has no body.
_NAME_CODES = frozenset(
    {
        "KeyTooLongError",
        "XMinioInvalidObjectName",
        "XMinioParentIsObject",
        "XMinioObjectExistsAsDirectory",
        "BadRequest",
    }
)


def connect(access: S3Access) -> Minio:
    """A client for the endpoint; nothing is sent yet.

    Raises:
        ConfigurationError: The endpoint is not an http or https URL of a host.
    """
    parts = urlsplit(access.endpoint_url)
    has_more = parts.path.strip("/") or parts.query or parts.fragment or parts.username
    if parts.scheme not in {"http", "https"} or not parts.hostname or has_more:
        raise ConfigurationError(
            ["S3_ENDPOINT_URL must be http://host[:port] or https://host[:port]."]
        )
    is_secure = parts.scheme == "https"
    return Minio(
        endpoint=parts.netloc,
        access_key=access.access_key,
        secret_key=access.secret_key,
        region=access.region,
        secure=is_secure,
        http_client=urllib3.PoolManager(
            maxsize=_POOL_CONNECTIONS,
            timeout=urllib3.Timeout(
                connect=CONNECT_TIMEOUT_SECONDS, read=READ_TIMEOUT_SECONDS
            ),
            retries=urllib3.Retry(
                total=3,
                connect=2,
                read=1,
                redirect=False,
                backoff_factor=0.2,
                status_forcelist=(500, 502, 503, 504),
            ),
            ssl_context=_tls_context() if is_secure else None,
        ),
    )


def _tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(cafile=certifi.where())
    return context


@contextmanager
def s3_errors(what: str) -> Iterator[None]:
    """Translate the SDK's and urllib3's errors; ``what`` names the address."""
    try:
        yield
    except S3Error as error:
        raise _translated(error, what) from error
    except (MinioException, SyntaxError, ValueError) as error:
        # ElementTree's ParseError is a SyntaxError: the answer is no XML. The SDK
        # raises a ValueError when an element is missing from it.
        raise ArtifactStoreError(
            f"The artifact store gave an answer for {what} that is not S3's."
        ) from error
    except HTTPError as error:
        reason = error.reason if isinstance(error, MaxRetryError) else error
        raise ArtifactStoreError(
            f"The artifact store did not answer for {what}: {type(reason).__name__}."
        ) from error


def _translated(error: S3Error, what: str) -> RegistryError:
    if error.code in _NOT_FOUND:
        return _NOT_FOUND[error.code](f"There is no artifact at {what}.")
    if error.code == "PreconditionFailed":
        return ArtifactChangedError(f"{what} has been changed since it was listed.")
    if error.code == "InvalidRange":
        return InvalidInputError(
            f"The range starts beyond the end of {what}.", field="range"
        )
    if error.code in _NAME_CODES:
        return InvalidInputError(
            f"The artifact store cannot hold {what}: {error.message}.", field="path"
        )
    if error.code == "AccessDenied":
        return ArtifactAccessDeniedError(f"The artifact store denies access to {what}.")
    return ArtifactStoreError(
        f"The artifact store failed on {what}: {error.code}: {error.message}."
    )
