"""Opens the store that the setting ``ARTIFACT_ROOT`` names."""

from pathlib import Path

from registry.artifacts.local import LocalArtifactStore
from registry.artifacts.store import ArtifactStore, S3Access
from registry.errors import ConfigurationError, InvalidInputError


def open_store(artifact_root: str, s3: S3Access | None) -> ArtifactStore:
    """The store at ``s3://bucket/prefix`` or in a directory of this machine.

    Nothing is contacted or created: call ``prepare`` for that.

    Raises:
        ConfigurationError: The root is malformed, or S3 access is missing.
    """
    if not artifact_root.lower().startswith("s3://"):
        return LocalArtifactStore(Path(artifact_root))
    if s3 is None:
        problem = (
            "ARTIFACT_ROOT is an s3:// address, so S3_ENDPOINT_URL, S3_ACCESS_KEY and"
            " S3_SECRET_KEY must be set."
        )
        raise ConfigurationError([problem])
    # Importing the SDK costs some 10 MB of resident memory in every process, which
    # a registry with a local root need not spend.
    from registry.artifacts.minio import MinioArtifactStore  # noqa: PLC0415 - see above

    try:
        return MinioArtifactStore(s3, root_uri=artifact_root)
    except InvalidInputError as error:
        raise ConfigurationError([f"ARTIFACT_ROOT: {error.message}"]) from error
