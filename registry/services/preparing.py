"""Everything that a registration looks up before it locks anything.

Both APIs register in two steps: ``prepare_version``, which may take seconds, and the
``RegisterVersion`` that it makes, under the model's lock.
"""

from sqlalchemy import Connection

from registry.domain import prompts
from registry.domain.actors import Actor
from registry.domain.commands.registration import (
    LinkedSource,
    RegisterVersion,
    VersionDetails,
)
from registry.services.run_snapshots import with_run
from registry.services.sources import SourceReaders, resolve_source


def prepare_version(
    cx: Connection,
    readers: SourceReaders,
    model: str,
    details: VersionDetails,
    *,
    reader: Actor,
    source: str | None,
    at_least: int = 1,
) -> RegisterVersion:
    """Look up the source and the run of a version to be; ``cx`` is closed then.

    Raises:
        PermissionDeniedError: when ``reader`` may not read what the source names.
        ArtifactNotFoundError: when the source is a version that is not here.
        ConflictError: when that version's artifact is not settled, or has changed.
        InvalidInputError: when it is no source, is of another run or logged model
            than ``details`` say, or nothing is there.
        ArtifactStoreError: when the store or the tracking server does not answer.
    """
    link = None
    if prompts.is_prompt(details.tags):  # its text is in its tags
        link = LinkedSource(source=prompts.SOURCE if source is None else source)
        prompts.check_source(link.source)
        cx.close()
    elif source is None:
        cx.close()
        details = with_run(details, readers.tracking)
    else:
        resolved = resolve_source(cx, readers, source, details, reader=reader)
        link = resolved.link
        details = with_run(resolved.details, readers.tracking, resolved)
    return RegisterVersion(
        model=model,
        details=details,
        link=link,
        artifact_root=readers.store.root_uri,
        at_least=at_least,
    )
