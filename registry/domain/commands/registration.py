"""Registering a version: the next number, and where its artifact lies.

Rules:

- The number is taken under the model's lock from a counter on its row, so numbers run
  1, 2, 3 and are never used again.
- A version is PENDING_REGISTRATION until its manifest is complete; one whose source we
  cannot read is READY at once and unverified.
- A copy of what was deleted or found changed since it was looked up is refused. It may
  be of another model, which is not locked: two copies the other way round would wait
  for each other. A change that commits after that comes after the copy, as if made a
  moment later, and the copy is hashed before it is promoted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from registry.domain import names, prompts
from registry.domain.commands.change import (
    Context,
    Outcome,
    Snapshot,
    Want,
    history_line,
    new_transition_id,
)
from registry.domain.commands.tags import TagChanges
from registry.domain.commands.versions import new_id, sealed, version_changed
from registry.domain.events import REGISTERED
from registry.domain.manifests import Manifest
from registry.domain.names import Tags
from registry.domain.policy import NONE, Cause, StagePolicy
from registry.domain.rows import (
    ManifestRow,
    ModelRow,
    VersionRow,
    VersionStatus,
    VersionTagRow,
)
from registry.errors import ConflictError


@dataclass(frozen=True, kw_only=True)
class VersionDetails:
    """What is said of a version when it is registered.

    Attributes:
        run: what is known of the run besides params, metrics and data sets, as
            ``services.run_snapshots`` makes it.
    """

    run_id: str | None = None
    run_link: str = ""
    run: Mapping[str, Any] | None = None
    logged_model_id: str | None = None
    git_commit: str | None = None
    description: str = ""
    tags: Tags = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    datasets: Sequence[Mapping[str, str]] = ()


@dataclass(frozen=True, kw_only=True)
class LinkedSource:
    """A source that was looked at; by default one elsewhere, taken at its word.

    Attributes:
        is_readable: whether the store can read it.
        manifest: None while it is too large to have been hashed, or unreadable.
        download_uri: where the bytes are; None for at ``source`` itself.
        copied_id: the id of the version of this registry that ``source`` names.
    """

    source: str
    is_readable: bool = False
    manifest: Manifest | None = None
    download_uri: str | None = None
    copied_id: str | None = None


def require_copyable(name: str, status: str, artifact_state: str) -> None:
    """Refuse to copy a version whose artifact is not settled, or has changed."""
    if status != VersionStatus.READY:
        raise ConflictError(f"{name} is {status}; only what is READY is copied")
    if artifact_state == "changed":
        raise ConflictError(f"the artifact of {name} is not what was registered")


#: Below the artifact root, which may hold what others put there, too.
UPLOADS, SEALED = "uploads", "artifacts"


def upload_source(artifact_root: str, version_id: str) -> str:
    """Return where the upload of a version waits."""
    return f"{artifact_root}/{UPLOADS}/{version_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterVersion:
    """Register the next version of a model.

    Attributes:
        link: where the artifact lies; None when it is to be uploaded, below
            ``artifact_root``.
        at_least: the least number that it may get.
    """

    model: str
    details: VersionDetails
    link: LinkedSource | None
    artifact_root: str
    at_least: int = 1
    id: str = field(default_factory=new_id)

    def want(self, _: StagePolicy) -> Want:
        """Ask for what it is a copy of, if it is one."""
        return Want(copied=self.link.copied_id if self.link else None)

    def decide(self, seen: Snapshot, context: Context) -> Outcome[VersionRow]:
        """Decide what the version is, with its tags and its first stage.

        Raises:
            ConflictError: when the version that is copied may no longer be.
            InvalidInputError: for a text or tag that breaks the rules, or a version
                that is a prompt where the model is none, or the other way round.
        """
        details, link = self.details, self.link
        prompts.check_new_version(
            seen.model.name, of_prompt=seen.model.is_prompt, tags=details.tags
        )
        if link and link.copied_id:
            self._check_copied(seen, link.source)
        model = seen.model.touched(context.now)
        model = replace(
            model,
            mlflow_updated_at=model.updated_at,
            last_number=max(model.last_number + 1, self.at_least),
            last_history=model.last_history + 1,
        )
        tags = TagChanges.of({}, details.tags)
        version = self._version(model, context, tags.after)
        _, tag_rows = tags.rows(partial(VersionTagRow, version_id=version.id))
        return version_changed(
            seen,
            context,
            None,
            version,
            model=model,
            action=REGISTERED,
            added=[
                version,
                *tag_rows,
                *_manifest_rows(version, link),
                history_line(
                    context,
                    version,
                    sequence=model.last_history,
                    transition_id=new_transition_id(),
                    cause=Cause.REGISTRATION,
                ),
            ],
        )

    def _check_copied(self, seen: Snapshot, name: str) -> None:
        if seen.copied is None:
            raise ConflictError(f"{name} was deleted while it was being copied")
        require_copyable(name, *seen.copied)

    def _version(
        self, model: ModelRow, context: Context, tags: Mapping[str, str]
    ) -> VersionRow:
        details, at = self.details, model.updated_at
        version = VersionRow(
            id=self.id,
            model_id=model.id,
            model_name=model.name,
            number=model.last_number,
            stage=NONE,
            status=VersionStatus.PENDING_REGISTRATION,
            source=upload_source(self.artifact_root, self.id),
            run_id=_clean_optional(details.run_id, "run_id"),
            run_link=names.clean_text(details.run_link, field="run_link"),
            run=None if details.run is None else dict(details.run),
            logged_model_id=_clean_optional(details.logged_model_id, "logged_model_id"),
            git_commit=_clean_optional(details.git_commit, "git_commit"),
            description=names.prose(details.description, field="description"),
            params=_clean_texts(details.params, "params"),
            metrics={
                names.clean_text(name, field="metrics"): value
                for name, value in details.metrics.items()
            },
            datasets=[
                _clean_texts(dataset, "datasets") for dataset in details.datasets
            ],
            created_at=at,
            created_by=context.caller.actor.name,
            updated_at=at,
            mlflow_updated_at=at,
            tags=tags,
            entered=model.last_history,
        )
        return version if self.link is None else _linked(version, self.link)


def _linked(version: VersionRow, link: LinkedSource) -> VersionRow:
    version = replace(version, source=link.source, download_uri=link.download_uri)
    if not link.is_readable:
        return replace(version, status=VersionStatus.READY)
    if link.manifest is None:
        return replace(version, seal_after=version.created_at)
    return sealed(version, link.manifest)


def _manifest_rows(version: VersionRow, link: LinkedSource | None) -> list[ManifestRow]:
    if link is None or link.manifest is None:
        return []
    return [ManifestRow(version_id=version.id, canonical=link.manifest.canonical)]


def _clean_optional(text: str | None, field: str) -> str | None:
    return None if text is None else names.clean_text(text, field=field)


def _clean_texts(texts: Mapping[str, str], field: str) -> dict[str, str]:
    return {
        names.clean_text(key, field=field): names.clean_text(value, field=field)
        for key, value in texts.items()
    }
