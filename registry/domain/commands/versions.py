"""Versions as they stand: described, tagged, deleted, their artifacts settled."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from registry.domain import names, prompts
from registry.domain.commands.change import (
    Context,
    Outcome,
    Snapshot,
    Told,
    Want,
    about_version,
    authorize_aliases,
    outcome,
    require_promoter,
    version_event,
)
from registry.domain.commands.tags import TagChanges
from registry.domain.documents import version_document
from registry.domain.entries import Change
from registry.domain.events import (
    ARTIFACT_CHANGED,
    DELETED,
    TAG_DELETED,
    TAG_SET,
    UPDATED,
    ArtifactChange,
    Described,
)
from registry.domain.manifests import Manifest
from registry.domain.names import Tags
from registry.domain.policy import UNUSED_STAGES, StagePolicy
from registry.domain.rows import (
    AliasRow,
    DeclaredRow,
    ManifestRow,
    ModelRow,
    VersionRow,
    VersionStatus,
    VersionTagRow,
)
from registry.errors import ConflictError, DeletionRefusedError

MAX_DIFFERENCES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class _OfVersion:
    """A command about one version.

    Each raises ``NotFoundError`` where there is no such version, and
    ``StaleExpectationError`` where its entity tag is not ``if_match``.
    """

    model: str
    number: int
    if_match: str | None = None

    def want(self, _: StagePolicy) -> Want:
        """Ask for the version."""
        return Want(number=self.number)

    def version_of(self, seen: Snapshot) -> VersionRow:
        """Return the version, if it is there as it was last seen."""
        return seen.require_version(self.number, if_match=self.if_match)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeVersion(_OfVersion):
    """Describe or tag a version; None leaves a member as it is.

    Attributes:
        is_idle_without_tags: whether it is no change to remove tags that are not there.
    """

    description: str | None = None
    tags: Tags | None = None
    is_idle_without_tags: bool = False

    def decide(self, seen: Snapshot, context: Context) -> Outcome[VersionRow]:
        """Decide what is said of the version from now on.

        Raises:
            InvalidInputError: for a text or tag that breaks the rules.
        """
        before = self.version_of(seen)
        tags = TagChanges.of(before.tags, self.tags)
        if self.is_idle_without_tags and tags.is_idle:
            return Outcome(answer=before)
        if seen.model.is_prompt:
            prompts.check_version_tags(before.tags, self.tags or {})
        model = seen.model.touched(context.now)
        after = replace(before.touched(model.updated_at), tags=tags.after)
        if self.description is not None:
            text = names.prose(self.description, field="description")
            after = replace(after, description=text, mlflow_updated_at=after.updated_at)
        about = about_version(context, model, after)
        removed, added = tags.rows(partial(VersionTagRow, version_id=after.id))
        return version_changed(
            seen,
            context,
            before,
            after,
            also=tags.events(about, (TAG_SET, TAG_DELETED)),
            removed=removed,
            added=added,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteVersion(_OfVersion):
    """Delete a version; its number, history and audit entries stay."""

    def decide(self, seen: Snapshot, context: Context) -> Outcome[None]:
        """Decide whether the policy lets it go.

        Raises:
            DeletionRefusedError: when the policy protects versions in its stage.
            PermissionDeniedError: when it is in use and the caller may not move it, or
                may not remove an alias of it.
        """
        before = self.version_of(seen)
        deletable = context.policy.for_model(self.model).deletable
        if not seen.model.is_prompt and before.stage not in deletable:
            raise DeletionRefusedError(
                f"version {before.number} is in {before.stage}; only versions in "
                f"{', '.join(sorted(deletable)) or 'no stage'} may be deleted"
            )
        if before.stage not in UNUSED_STAGES:
            require_promoter(context.caller, seen.model.name, [before.number])
        authorize_aliases(context, self.model, before.aliases)
        model = seen.model.touched(context.now)
        at = model.updated_at
        model = replace(model, mlflow_updated_at=at)
        after = replace(
            before.touched(at), deleted_at=at, exclusive_stage=None, seal_after=None
        )
        return outcome(
            seen,
            context,
            model,
            Change(
                action=DELETED,
                version=before.number,
                before=version_document(before),
            ),
            data=version_event(context, model, after),
            removed=[AliasRow.of(after, alias) for alias in after.aliases],
            changed=[after],
            answer=None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SealVersion(_OfVersion):
    """Complete a pending version: its manifest, and where an upload was copied to.

    A sealed artifact never changes: sealing again with the same manifest answers the
    version, with another one it is refused.
    """

    manifest: Manifest
    source: str | None = None

    def decide(self, seen: Snapshot, context: Context) -> Outcome[VersionRow]:
        """Decide whether it may be completed with this.

        Raises:
            ConflictError: when the version is complete with another artifact, or its
                registration has failed.
        """
        before = self.version_of(seen)
        if before.artifact_digest == self.manifest.digest:
            return Outcome(answer=before)
        require_pending(before)
        after = sealed(before.touched(seen.at(context)), self.manifest)
        if self.source is not None:
            after = replace(after, source=self.source)
        return version_changed(
            seen,
            context,
            before,
            after,
            changed=[DeclaredRow(id=after.id, declared_manifest=None)],
            added=[ManifestRow(version_id=after.id, canonical=self.manifest.canonical)],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSealing(_OfVersion):
    """Leave an uploaded artifact to the background, to be hashed and sealed."""

    declared: Manifest

    def decide(self, seen: Snapshot, context: Context) -> Outcome[VersionRow]:
        """Decide whether it still waits for that.

        Raises:
            ConflictError: when the version is no longer pending.
        """
        before = self.version_of(seen)
        require_pending(before)
        at = seen.at(context)
        after = replace(
            before.touched(at),
            seal_after=at,
            status_message="the artifact is being hashed",
        )
        declared = DeclaredRow(id=after.id, declared_manifest=self.declared.canonical)
        return version_changed(seen, context, before, after, changed=[declared])


@dataclass(frozen=True, slots=True, kw_only=True)
class FailRegistration(_OfVersion):
    """Give a pending version up, with the reason.

    Attributes:
        only_unfinished: whether only an upload that nobody finalized is given up; of
            another, nothing is changed.
    """

    reason: str
    only_unfinished: bool = False

    def decide(self, seen: Snapshot, context: Context) -> Outcome[VersionRow]:
        """Decide whether it is still pending.

        Raises:
            ConflictError: when the version is complete.
        """
        before = self.version_of(seen)
        is_pending = before.status == VersionStatus.PENDING_REGISTRATION
        if self.only_unfinished and not (is_pending and before.seal_after is None):
            return Outcome(answer=before)
        require_pending(before)
        after = replace(
            before.touched(seen.at(context)),
            status=VersionStatus.FAILED_REGISTRATION,
            status_message=names.told_text(self.reason),
            seal_after=None,
        )
        return version_changed(
            seen,
            context,
            before,
            after,
            changed=[DeclaredRow(id=after.id, declared_manifest=None)],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkArtifactChanged(_OfVersion):
    """Record that an artifact is no longer what was registered, once."""

    differences: Sequence[str]

    def decide(self, seen: Snapshot, context: Context) -> Outcome[VersionRow]:
        """Decide whether it was known."""
        before = self.version_of(seen)
        if before.artifact_state == "changed":
            return Outcome(answer=before)
        model = seen.model.touched(context.now)
        after = replace(before.touched(model.updated_at), artifact_state="changed")
        change: ArtifactChange = {
            "differences": list(self.differences)[:MAX_DIFFERENCES]
        }
        return outcome(
            seen,
            context,
            model,
            Change(
                action=ARTIFACT_CHANGED,
                version=after.number,
                before={"verified": before.is_verified},
                after={"verified": False, **change},
            ),
            data={**version_event(context, model, after), **change},
            changed=[after],
            answer=after,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkArtifactVerified(_OfVersion):
    """Record that an artifact is as it was registered, if that was in doubt."""

    digest: str

    def decide(self, seen: Snapshot, context: Context) -> Outcome[VersionRow]:
        """Decide whether that is what the version has.

        Raises:
            ConflictError: when the digest is not what the version has.
        """
        before = self.version_of(seen)
        if before.artifact_digest != self.digest:
            raise ConflictError(f"version {before.number} has another artifact by now")
        if before.is_verified:
            return Outcome(answer=before)
        after = replace(before.touched(seen.at(context)), artifact_state="verified")
        return version_changed(seen, context, before, after)


def version_changed(
    seen: Snapshot,
    context: Context,
    before: VersionRow | None,
    after: VersionRow,
    *,
    model: ModelRow | None = None,
    action: str = UPDATED,
    also: Sequence[Told] = (),
    changed: Sequence[Any] = (),
    **rows: Any,  # noqa: ANN401  # members of Effects
) -> Outcome[VersionRow]:
    """Return the outcome of a change of one version, which is new without ``before``.

    ``changed`` is what changes besides the version.
    """
    model = model or seen.model.touched(context.now)
    described: Described = {"description": after.description}
    return outcome(
        seen,
        context,
        model,
        Change(
            action=action,
            version=after.number,
            before=None if before is None else version_document(before),
            after=version_document(after),
        ),
        data={**version_event(context, model, after), **described},
        also=also,
        changed=[*([after] if before else []), *changed],
        answer=after,
        **rows,
    )


def require_pending(version: VersionRow) -> None:
    """Let an artifact change only while its registration is pending."""
    if version.status != VersionStatus.PENDING_REGISTRATION:
        raise ConflictError(
            f"version {version.number} is {version.status}: its artifact is settled"
        )


def sealed(version: VersionRow, manifest: Manifest) -> VersionRow:
    """Return the version, READY with this manifest."""
    return replace(
        version,
        status=VersionStatus.READY,
        status_message="",
        artifact_state="verified",
        artifact_digest=manifest.digest,
        artifact_size_bytes=manifest.size_bytes,
        seal_after=None,
    )


def new_id() -> str:
    """Return an id that nobody can guess."""
    return uuid.uuid4().hex
