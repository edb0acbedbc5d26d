"""Everything that a registration looks up before it locks anything.

Both APIs register in two steps: ``prepare_version``, which may take seconds, and
``RegisterVersion`` under the model's lock.
"""

from dataclasses import dataclass, replace

from sqlalchemy import Connection

from registry.domain import prompts
from registry.domain.commands.registration import LinkedSource, VersionDetails
from registry.services.artifacts import linked_elsewhere
from registry.services.run_snapshots import with_run
from registry.services.sources import (
    Owner,
    SourceReaders,
    owner_named_by,
    resolve_source,
)


@dataclass(frozen=True, kw_only=True)
class PreparedVersion:
    """What ``RegisterVersion`` takes; without a link the artifact will be uploaded."""

    details: VersionDetails
    link: LinkedSource | None


def with_owner(details: VersionDetails, source: str | None) -> VersionDetails:
    """A source that is of a run or a logged model says so; no need to repeat it."""
    owner = owner_named_by(source) if source is not None else Owner()
    return replace(
        details,
        run_id=details.run_id or owner.run_id,
        logged_model_id=details.logged_model_id or owner.logged_model_id,
    )


def prepare_version(
    cx: Connection,
    readers: SourceReaders,
    details: VersionDetails,
    *,
    source: str | None,
) -> PreparedVersion:
    """Look up the source and the run of a version to be; ``cx`` is closed then.

    Raises:
        ArtifactNotFoundError, ConflictError, InvalidInputError, ArtifactStoreError:
            as ``sources.resolve_source``.
    """
    if prompts.is_prompt(details.tags):
        return _prepare_prompt(cx, details, source)
    if source is None:
        cx.close()
        return PreparedVersion(details=with_run(details, readers.tracking), link=None)
    owner = Owner(run_id=details.run_id, logged_model_id=details.logged_model_id)
    resolved = resolve_source(cx, readers, source, owner)
    details = replace(
        details,
        run_id=resolved.owner.run_id,
        logged_model_id=resolved.owner.logged_model_id,
    )
    return PreparedVersion(
        details=with_run(details, readers.tracking, resolved), link=resolved.link
    )


def _prepare_prompt(
    cx: Connection, details: VersionDetails, source: str | None
) -> PreparedVersion:
    """There is nothing to look up: its text is in its tags."""
    source = prompts.SOURCE if source is None else source
    prompts.check_source(source)
    cx.close()
    return PreparedVersion(details=details, link=linked_elsewhere(source))
