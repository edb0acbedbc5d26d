"""Artifacts in MinIO, or in another S3 store that passes the contract tests.

Rules:

- The SDK's methods are called by keyword: its next major version takes no others.
- Reads and copies are pinned with ``If-Match``, so what was listed is what is read.
- Copies are made by the server, in parts small enough for the read timeout.
- Nothing here uses MinIO's admin API, versioning or object lock.

Importing this module imports the SDK; ``registry.artifacts.opening`` does so only
for roots that need it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import BinaryIO, TypeVar, cast
from urllib.parse import quote

from minio.commonconfig import ComposeSource, CopySource
from minio.datatypes import Object
from minio.deleteobjects import DeleteObject
from urllib3.response import BaseHTTPResponse

from registry.artifacts.addresses import S3Address, s3_address
from registry.artifacts.minio_client import connect, s3_errors
from registry.artifacts.store import CHUNK_BYTES, S3Access, StoredFile
from registry.artifacts.streams import HashingReader, check_range, outside_range
from registry.domain.manifests import MAX_PATH_BYTES, FileEntry, check_artifact_path
from registry.errors import (
    ArtifactNotFoundError,
    ArtifactStoreError,
    InvalidInputError,
    RegistryError,
)

_MEBIBYTE = 1024 * 1024
_MAX_PARTS = 10_000
# A part is in memory once, and for a moment twice: small beside the process.
_PART_BYTES = 16 * _MEBIBYTE
# One request must end within the read timeout, at 10 MiB a second or better.
_COPY_PART_BYTES = 512 * _MEBIBYTE

_Answer = TypeVar("_Answer")


class MinioArtifactStore:
    """An ``ArtifactStore`` in a bucket, below an optional prefix."""

    def __init__(
        self,
        access: S3Access,
        *,
        root_uri: str,
        copy_part_bytes: int = _COPY_PART_BYTES,
    ) -> None:
        self._root = _address(root_uri)
        self._root_uri = root_uri.rstrip("/")
        self._client = connect(access)
        self._copy_part_bytes = copy_part_bytes

    @property
    def root_uri(self) -> str:
        """The address below which this store writes."""
        return self._root_uri

    def prepare(self) -> None:
        """Create the bucket when it is missing and we are allowed to."""
        bucket = self._root.bucket
        try:
            with s3_errors(f"the bucket {bucket}"):
                if not self._client.bucket_exists(bucket_name=bucket):
                    self._client.make_bucket(bucket_name=bucket)
        except RegistryError as error:
            raise ArtifactStoreError(
                f"The bucket {bucket} cannot be used and was not created:"
                f" {error.message}"
            ) from error

    def claims(self, source: str) -> bool:
        """Whether the address is an ``s3://`` address, of any bucket."""
        return s3_address(source) is not None

    def list_files(self, source: str) -> Iterator[StoredFile]:
        """All files below the address, sorted by path."""
        address = _address(source)
        start = len(address.key(""))
        is_empty = True
        for found in self._objects(address):
            key = cast("str", found.object_name)
            if key.endswith("/") and not found.size:
                # Consoles make such markers so that an empty folder shows.
                continue
            is_empty = False
            yield _stored(check_artifact_path(key[start:]), found)
        if is_empty:
            yield self._single_file(address, source)

    def stat(self, source: str, path: str) -> StoredFile:
        """One file's size and ETag."""
        return _stored(path, self._found(_address(source), path))

    @contextmanager
    def open(
        self,
        source: str,
        path: str,
        *,
        start: int = 0,
        length: int | None = None,
        etag: str | None = None,
    ) -> Iterator[Iterator[bytes]]:
        """Stream a file or a range of it."""
        check_range(start, length)
        if length == 0:
            # The SDK takes a length of 0 for none given, and S3 has no empty range.
            _check_start(self.stat(source, path), start)
            yield iter(())
            return
        address = _address(source)
        response = self._first_found(
            address,
            path,
            lambda key: self._client.get_object(
                bucket_name=address.bucket,
                object_name=key,
                offset=start,
                length=length or 0,
                request_headers={"If-Match": f'"{etag}"'} if etag else None,
            ),
        )
        try:
            yield _chunks(response, path)
        finally:
            response.close()
            response.release_conn()

    def write(
        self, source: str, path: str, stream: BinaryIO, size_bytes: int | None
    ) -> FileEntry:
        """Store a stream under its final name once all of it has arrived.

        Without a size, a stream may have 156 GiB: what 10,000 parts hold.
        """
        address = self._writable(source)
        key = _key(address, path)
        reader = HashingReader(stream, size_bytes)
        if size_bytes == 0:
            # The SDK does not read from a stream that is said to be empty.
            reader.entry(path)
        with s3_errors(path):
            self._client.put_object(
                bucket_name=address.bucket,
                object_name=key,
                data=cast("BinaryIO", reader),
                length=-1 if size_bytes is None else size_bytes,
                part_size=_part_bytes(size_bytes),
                # The SDK's pool leaves its threads behind when a stream breaks off.
                num_parallel_uploads=1,
            )
        return reader.entry(path)

    def copy(self, source: str, path: str, target_source: str, *, etag: str) -> None:
        """Copy one file on the server, under the same path."""
        address = _address(source)
        target = self._writable(target_source)
        target_key = _key(target, path)
        found = self._found(address, path)
        with s3_errors(path):
            if cast("int", found.size) <= self._copy_part_bytes:
                self._client.copy_object(
                    bucket_name=target.bucket,
                    object_name=target_key,
                    source=CopySource(
                        bucket_name=address.bucket,
                        object_name=cast("str", found.object_name),
                        match_etag=etag,
                    ),
                )
            else:
                self._client.compose_object(
                    bucket_name=target.bucket,
                    object_name=target_key,
                    sources=self._parts(address.bucket, found, etag),
                )

    def delete_tree(self, source: str) -> None:
        """Delete all objects below the address; deleting nothing is no error."""
        address = self._writable(source)
        with s3_errors(source):
            self._client.remove_object(
                bucket_name=address.bucket, object_name=address.prefix
            )
        # MinIO does not list a/b while there is an object a: sweep until all is gone.
        while names := [found.object_name for found in self._objects(address)]:
            self._delete(address.bucket, cast("list[str]", names))

    def presign_get(
        self, source: str, path: str, *, expires: timedelta, filename: str
    ) -> str | None:
        """A URL that downloads the file as ``filename``.

        Raises:
            ArtifactNotFoundError: The file is not there, so the URL would fail.
        """
        address = _address(source)
        found = self._found(address, path)
        disposition = f"attachment; filename*=UTF-8''{quote(filename, safe='')}"
        with s3_errors(path):
            return self._client.presigned_get_object(
                bucket_name=address.bucket,
                object_name=cast("str", found.object_name),
                expires=expires,
                response_headers={"response-content-disposition": disposition},
            )

    def presign_put(self, source: str, path: str, *, expires: timedelta) -> str | None:
        """A URL that uploads the file; it binds neither size nor contents."""
        address = self._writable(source)
        with s3_errors(path):
            return self._client.presigned_put_object(
                bucket_name=address.bucket,
                object_name=_key(address, path),
                expires=expires,
            )

    def _objects(self, address: S3Address) -> Iterator[Object]:
        with s3_errors(f"s3://{address.bucket}/{address.prefix}"):
            yield from self._client.list_objects(
                bucket_name=address.bucket, prefix=address.key(""), recursive=True
            )

    def _delete(self, bucket: str, names: list[str]) -> None:
        with s3_errors(bucket):
            failures = self._client.remove_objects(
                bucket_name=bucket, delete_object_list=map(DeleteObject, names)
            )
            for failure in failures:
                raise ArtifactStoreError(
                    f"{failure.name} cannot be deleted: {failure.message}."
                )

    def _single_file(self, address: S3Address, source: str) -> StoredFile:
        if not address.prefix or source.endswith("/"):
            raise ArtifactNotFoundError(f"There is no artifact at {source}.")
        with s3_errors(source):
            found = self._client.stat_object(
                bucket_name=address.bucket, object_name=address.prefix
            )
        return _stored(address.prefix.rpartition("/")[2], found)

    def _found(self, address: S3Address, path: str) -> Object:
        return self._first_found(
            address,
            path,
            lambda key: self._client.stat_object(
                bucket_name=address.bucket, object_name=key
            ),
        )

    def _first_found(
        self, address: S3Address, path: str, ask: Callable[[str], _Answer]
    ) -> _Answer:
        """Ask for the file; or for the source, if it may be the one file itself."""
        key = _key(address, path)
        if address.prefix.rpartition("/")[2] == path:
            try:
                with s3_errors(path):
                    return ask(key)
            except ArtifactNotFoundError:
                key = address.prefix
        with s3_errors(path):
            return ask(key)

    def _parts(self, bucket: str, found: Object, etag: str) -> list[ComposeSource]:
        size_bytes = cast("int", found.size)
        return [
            ComposeSource(
                bucket_name=bucket,
                object_name=cast("str", found.object_name),
                offset=offset,
                length=min(self._copy_part_bytes, size_bytes - offset),
                match_etag=etag,
            )
            for offset in range(0, size_bytes, self._copy_part_bytes)
        ]

    def _writable(self, source: str) -> S3Address:
        address = _address(source)
        is_below = address.prefix.startswith(self._root.key("")) and address.prefix
        if address.bucket != self._root.bucket or not is_below:
            raise InvalidInputError(
                f"The source {source!a} is not below the artifact root.",
                field="source",
            )
        return address


def _address(source: str) -> S3Address:
    address = s3_address(source)
    if address is None:
        raise InvalidInputError(
            f"The source {source!a} is not an s3:// address.", field="source"
        )
    return address


def _key(address: S3Address, path: str) -> str:
    key = address.key(check_artifact_path(path))
    if len(key.encode()) > MAX_PATH_BYTES:
        raise InvalidInputError(
            f"Source and path together are longer than {MAX_PATH_BYTES} bytes.",
            field="path",
        )
    return key


def _stored(path: str, found: Object) -> StoredFile:
    return StoredFile(path, found.size or 0, found.etag or "")


def _part_bytes(size_bytes: int | None) -> int:
    """Whole mebibytes; larger only where 10,000 parts would not suffice."""
    needed = -(-(size_bytes or 0) // (_MAX_PARTS * _MEBIBYTE)) * _MEBIBYTE
    return max(_PART_BYTES, needed)


def _check_start(stored: StoredFile, start: int) -> None:
    if start and start >= stored.size_bytes:
        raise outside_range(stored.path)


def _chunks(response: BaseHTTPResponse, path: str) -> Iterator[bytes]:
    # Not decoded: the digest is of the object, whatever encoding it claims to have.
    with s3_errors(path):
        yield from response.stream(CHUNK_BYTES, decode_content=False)
