"""Stores opened for the contract tests, and the verbs the tests use on them."""

import io
import uuid
from dataclasses import dataclass

from registry.artifacts.store import ArtifactStore, S3Access
from registry.domain.manifests import FileEntry
from tests.services.minio import ObjectStoreServer


@dataclass(frozen=True)
class Opened:
    """A prepared store, and what a process needs to open it again."""

    store: ArtifactStore
    root: str
    access: S3Access | None
    server: ObjectStoreServer | None

    def address(self) -> str:
        """An address nobody has used."""
        return f"{self.store.root_uri}/{uuid.uuid4().hex}"


def s3_access(server: ObjectStoreServer) -> S3Access:
    return S3Access(
        endpoint_url=server.endpoint_url,
        access_key=server.access_key,
        secret_key=server.secret_key,
        region=server.region,
    )


def put(store: ArtifactStore, source: str, path: str, content: bytes) -> FileEntry:
    return store.write(source, path, io.BytesIO(content), len(content))


def get(
    store: ArtifactStore,
    source: str,
    path: str,
    *,
    start: int = 0,
    length: int | None = None,
) -> bytes:
    with store.open(source, path, start=start, length=length) as chunks:
        return b"".join(chunks)


def paths(store: ArtifactStore, source: str) -> list[str]:
    return [stored.path for stored in store.list_files(source)]
