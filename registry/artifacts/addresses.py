"""Addresses of artifacts: what a source may look like, before anything is opened.

Rules:

- ``s3://bucket/key`` is taken literally: ``?``, ``#`` and ``%`` are characters of
  the key, as S3 itself has it. A URL parser would cut the key there, and check one
  address while another is read.
- A ``file:`` URI is percent-decoded once and has no query and no fragment.
- Another scheme is not an error here: it is an address of somebody else.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from registry.domain.manifests import check_artifact_path, has_category
from registry.errors import InvalidInputError

_S3_SCHEME = "s3://"
# Amazon S3 user guide, "General purpose bucket naming rules".
_BUCKET = re.compile(r"(?!\d+(\.\d+){3}$)[a-z0-9](?!.*\.\.)[a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True, slots=True)
class S3Address:
    """A bucket and a key prefix without slashes at its ends; it may be empty."""

    bucket: str
    prefix: str

    def key(self, path: str) -> str:
        """The object key of a file below this address."""
        return f"{self.prefix}/{path}" if self.prefix else path


def s3_address(source: str) -> S3Address | None:
    """Read an ``s3://`` address; None when the source is of another kind.

    Raises:
        InvalidInputError: The bucket or the key is malformed.
    """
    if not source.lower().startswith(_S3_SCHEME):
        return None
    bucket, _, key = source[len(_S3_SCHEME) :].partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise InvalidInputError(
            "The source names no valid bucket: expected s3://bucket/prefix.",
            field="source",
        )
    prefix = key.removesuffix("/")
    if prefix:
        _check_key(prefix)
    return S3Address(bucket, prefix)


def local_path(source: str) -> Path | None:
    """Read a ``file:`` URI or absolute path; None when it is of another kind.

    Raises:
        InvalidInputError: It is a ``file:`` URI of another machine, or malformed.
    """
    is_uri = source.lower().startswith("file:")
    if not is_uri and not source.startswith("/"):
        return None
    text = _path_of_uri(source) if is_uri else source
    if has_category(text, {"Cc", "Cs"}):
        raise _malformed("it contains a control character")
    if not text.startswith("/"):
        raise _malformed("its path is not absolute")
    return Path(text)


def do_overlap(one: str, other: str) -> bool:
    """Whether one of two addresses lies in the other, or is it."""
    places = [_place(address) for address in (one, other)]
    return all(a == b for a, b in zip(*places, strict=False))


def _place(source: str) -> Sequence[str]:
    """Return what an address leads through; of a kind that is not ours, itself."""
    bucket = s3_address(source)
    if bucket is not None:
        return bucket.bucket, *filter(None, bucket.prefix.split("/"))
    path = local_path(source)
    return (source,) if path is None else path.resolve().parts


def _path_of_uri(source: str) -> str:
    try:
        parts = urlsplit(source)
        path = unquote(parts.path, errors="strict")
    except ValueError as error:
        raise _malformed("it cannot be parsed") from error
    if parts.netloc not in {"", "localhost"}:
        raise _malformed("it names another machine")
    if parts.query or parts.fragment:
        raise _malformed("'?' and '#' must be percent-encoded in it")
    return path


def _malformed(reason: str) -> InvalidInputError:
    return InvalidInputError(
        f"The source is no usable file: address: {reason}.", field="source"
    )


def _check_key(prefix: str) -> None:
    try:
        check_artifact_path(prefix)
    except InvalidInputError as error:
        raise InvalidInputError(
            f"The source cannot be used: {error.message}", field="source"
        ) from error
