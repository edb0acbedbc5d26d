"""What lies behind a source, looked up before any lock is taken.

Rules:

- A version keeps the ``source`` that its caller sent; where the bytes are, when that
  is another place, is its ``download_uri``, and the manifest is taken from there.
- ``models:/NAME/…`` is a version of this registry. The copy shares its manifest, so
  it is pinned to what was registered, and hashed again before it is promoted.
- ``runs:/…`` and ``models:/m-…`` are looked up at the tracking server, and what it
  hands out itself (``mlflow-artifacts:/…``) is read through it. Without one they are
  stored unread: an MLflow client resolves them itself.
- A tracking server that is down makes such a registration wait (503): stored unread
  it would never be pinned. What the server refuses is the caller's to mend (422).
- The database is read before anything is asked of a store or server, and holds nothing
  open while it is.
"""

import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from registry.artifacts.addresses import do_overlap
from registry.artifacts.store import ArtifactStore
from registry.domain import prompts
from registry.domain.actors import Actor, authorize, may_with_every_model
from registry.domain.commands.registration import (
    SEALED,
    UPLOADS,
    LinkedSource,
    VersionDetails,
    require_copyable,
)
from registry.domain.policy import StagePolicy
from registry.domain.roles import Action
from registry.domain.rows import VersionRow
from registry.domain.sources import (
    Address,
    LoggedModelSource,
    ProxiedSource,
    RegisteredSource,
    RunSource,
    parse_source,
)
from registry.errors import (
    ArtifactNotFoundError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
    TrackingServerError,
)
from registry.persistence import manifests, queries
from registry.services.artifacts import inspect_address
from registry.tracking.client import TrackingServer
from registry.tracking.documents import LoggedModel, Run

#: How many of a run's logged models are asked for one of a given name.
MAX_LOGGED_MODELS = 10

#: What clients can read without us and without the tracking server.
_READABLE_BY_CLIENTS = frozenset({"s3", "gs", "dbfs", "wasbs"})
_PROXY_SCHEME = "mlflow-artifacts:"


@dataclass(frozen=True, kw_only=True)
class SourceReaders:
    """Who is asked what lies behind a source; without a tracking server it is None."""

    store: ArtifactStore
    policy: StagePolicy
    tracking: TrackingServer | None


@dataclass(frozen=True, kw_only=True)
class ResolvedSource:
    """A source that was looked up.

    Attributes:
        details: of the version, with the run and the logged model that it is of.
        run: what the tracking server said of the run, where it was asked.
        logged_model: as ``run``.
        copied: the version of this registry that the source names; detached.
    """

    link: LinkedSource
    details: VersionDetails
    run: Run | None = None
    logged_model: LoggedModel | None = None
    copied: VersionRow | None = None


def with_owner(details: VersionDetails, source: str | None) -> VersionDetails:
    """Complete what was said by the run or logged model that the source names."""
    match None if source is None else parse_source(source):
        case RunSource(run_id=run_id):
            return replace(details, run_id=details.run_id or run_id)
        case LoggedModelSource(model_id=model_id):
            owner = details.logged_model_id or model_id
            return replace(details, logged_model_id=owner)
        case _:
            return details


def resolve_source(
    cx: Connection,
    readers: SourceReaders,
    text: str,
    details: VersionDetails,
    *,
    reader: Actor,
) -> ResolvedSource:
    """Look up what a version is to be linked to, where ``reader`` may read it."""
    resolved = _resolved(cx, readers, text, details, reader=reader)
    if resolved.link.is_readable and resolved.copied is None:
        link, root = resolved.link, readers.store.root_uri
        _check_place(link.download_uri or link.source, root, reader)
    return resolved


def _resolved(
    cx: Connection,
    readers: SourceReaders,
    text: str,
    details: VersionDetails,
    *,
    reader: Actor,
) -> ResolvedSource:
    source = parse_source(text)
    if isinstance(source, RegisteredSource):
        authorize(reader, Action.READ, source.model)
        try:
            resolved = _copy_of(cx, readers.policy, source, details)
        except NotFoundError as error:
            raise ArtifactNotFoundError(
                f"{text[:200]!r} is not in this registry: {error.message}"
            ) from error
        cx.close()
        return resolved
    cx.close()
    match source:
        case Address():
            link = inspect_address(readers.store, source)
            return ResolvedSource(link=link, details=details)
        case RunSource():
            return _of_run(readers, source, details)
        case LoggedModelSource():
            return _of_logged_model(readers, source, details)
    return _of_proxy(readers, source, details)


def _check_place(place: str, root: str, reader: Actor) -> None:
    """Keep who may not read every model from what other models' versions hold."""
    if not may_with_every_model(reader, Action.READ) and any(
        do_overlap(place, f"{root}/{area}") for area in (UPLOADS, SEALED)
    ):
        raise PermissionDeniedError(
            f"{reader.name} may not read every model, and so link no address that holds"
            " what was uploaded; name a version instead, as models:/NAME/NUMBER"
        )


def _copy_of(
    cx: Connection,
    policy: StagePolicy,
    source: RegisteredSource,
    details: VersionDetails,
) -> ResolvedSource:
    number = _number(cx, policy, source)
    version = queries.get_version(cx, source.model, number)
    name = f"models:/{source.model}/{version.number}"
    if prompts.is_prompt(version.tags):
        raise InvalidInputError(
            f"{name} is a prompt, which has no artifact", field="source"
        )
    require_copyable(name, version.status, version.artifact_state)
    if details.run_id and details.run_id != version.run_id:
        raise InvalidInputError(
            f"{name} is of run {version.run_id or 'none'}, not of {details.run_id}",
            field="run_id",
        )
    is_readable = version.artifact_digest is not None
    manifest = manifests.manifest_of(cx, version) if is_readable else None
    return ResolvedSource(
        link=LinkedSource(
            source=name,
            is_readable=is_readable,
            manifest=manifest,
            download_uri=version.artifact_uri,
            copied_id=version.id,
        ),
        details=replace(
            details,
            run_id=version.run_id,
            logged_model_id=details.logged_model_id or version.logged_model_id,
        ),
        copied=version,
    )


def _number(cx: Connection, policy: StagePolicy, source: RegisteredSource) -> int:
    if source.number is not None:
        return source.number
    if source.alias is not None:
        return queries.version_by_alias(cx, source.model, source.alias).number
    stage = source.stage
    if stage is not None:
        stage = policy.for_model(source.model).stage(stage, field="source")
    versions = queries.list_versions(cx, source.model, below=None, stage=stage, limit=1)
    newest = next(versions, None)
    if newest is None:
        where = f" in {stage}" if stage else ""
        raise NotFoundError(f"model {source.model!r} has no version{where}")
    return newest.number


def _of_run(
    readers: SourceReaders, source: RunSource, details: VersionDetails
) -> ResolvedSource:
    _check_owner("run_id", details.run_id, source.run_id)
    tracking = readers.tracking
    if tracking is None:
        return ResolvedSource(link=LinkedSource(source=source.text), details=details)
    with _refusals_of("source"):
        run = tracking.get_run(source.run_id)
    name, _, below = source.path.partition("/")
    model = _model_named(tracking, run, name) if name else None
    if model is not None:
        model_id = details.logged_model_id or model.model_id
        details = replace(details, logged_model_id=model_id)
        place = posixpath.join(model.artifact_uri, below.lstrip("/"))
    else:
        place = posixpath.join(run.artifact_uri, source.path)
    return ResolvedSource(
        link=_linked_at(readers.store, source.text, place.rstrip("/")),
        details=details,
        run=run,
        logged_model=model,
    )


def _model_named(tracking: TrackingServer, run: Run, name: str) -> LoggedModel | None:
    """Return the logged model that MLflow 3 means by ``runs:/ID/name``.

    It keeps a model outside of the run's own artifacts, under an id. Of several it
    takes the one of the largest step, and of these the one made last.
    """
    steps = run.model_steps
    named: list[LoggedModel] = []
    named_at = 0
    latest_first = sorted(steps, key=steps.__getitem__, reverse=True)
    for count, model_id in enumerate(latest_first):
        if named and steps[model_id] < named_at:
            break
        if count == MAX_LOGGED_MODELS:
            raise InvalidInputError(
                f"run {run.run_id} logged {len(steps)} models, too many to tell which "
                f"one is meant by {name[:80]!r}; name it by its id, as models:/m-ID",
                field="source",
            )
        with _refusals_of("source"):
            model = tracking.get_logged_model(model_id)
        if model.name == name:
            named.append(model)
            named_at = steps[model_id]
    return max(named, key=lambda model: model.created_ms, default=None)


def _of_logged_model(
    readers: SourceReaders, source: LoggedModelSource, details: VersionDetails
) -> ResolvedSource:
    _check_owner("logged_model_id", details.logged_model_id, source.model_id)
    tracking = readers.tracking
    if tracking is None:
        return ResolvedSource(link=LinkedSource(source=source.text), details=details)
    with _refusals_of("source"):
        model = tracking.get_logged_model(source.model_id)
    return ResolvedSource(
        link=_linked_at(readers.store, source.text, model.artifact_uri),
        details=replace(details, run_id=details.run_id or model.run_id or None),
        logged_model=model,
    )


def _of_proxy(
    readers: SourceReaders, source: ProxiedSource, details: VersionDetails
) -> ResolvedSource:
    """Resolve a path that only the tracking server reads; it must be of its owner."""
    if not details.run_id and not details.logged_model_id:
        raise InvalidInputError(
            "needs run_id: it is read below the artifacts of a run", field="source"
        )
    tracking = readers.tracking
    if tracking is None:
        return ResolvedSource(link=LinkedSource(source=source.text), details=details)
    run, model = _proxied_owner(tracking, source, details)
    link = inspect_address(readers.store, _proxied_address(source))
    return ResolvedSource(link=link, details=details, run=run, logged_model=model)


def _proxied_owner(
    tracking: TrackingServer, source: ProxiedSource, details: VersionDetails
) -> tuple[Run | None, LoggedModel | None]:
    """Return the run and the logged model, one of which the path lies below."""
    run = None
    if details.run_id:
        with _refusals_of("run_id"):
            run = tracking.get_run(details.run_id)
        if _is_below(source, run.artifact_uri):
            return run, None
    if details.logged_model_id:
        with _refusals_of("logged_model_id"):
            model = tracking.get_logged_model(details.logged_model_id)
        if _is_below(source, model.artifact_uri):
            return run, model
    raise InvalidInputError(
        "is not below the artifacts of the run or logged model", field="source"
    )


def _proxied_address(source: ProxiedSource) -> Address:
    return Address(source.text, _PROXY_SCHEME.removesuffix(":"))


def _is_below(source: ProxiedSource, artifact_uri: str) -> bool:
    root = artifact_uri.removeprefix(_PROXY_SCHEME).strip("/")
    if not root or root == artifact_uri.strip("/"):
        return False
    return f"{source.path}/".startswith(f"{root}/")


def _linked_at(store: ArtifactStore, text: str, place: str) -> LinkedSource:
    """Return the source, as it lies at the place that the tracking server named.

    A place that nobody could link is the tracking server's affair: its clients
    resolve the source there, and what they find is not ours to vouch for.
    """
    try:
        address = parse_source(place)
        if isinstance(address, ProxiedSource):
            address = _proxied_address(address)
        if not isinstance(address, Address):
            return LinkedSource(source=text)
        is_ours = store.claims(address.text)
    except InvalidInputError:  # as a directory of the tracking server's own machine
        return LinkedSource(source=text)
    place = address.text
    link = inspect_address(store, address) if is_ours else LinkedSource(source=place)
    if link.is_readable:
        return replace(link, source=text, download_uri=place)
    is_readable = address.scheme in _READABLE_BY_CLIENTS
    return LinkedSource(source=text, download_uri=place if is_readable else None)


@contextmanager
def _refusals_of(field: str) -> Iterator[None]:
    """Blame a field for what the tracking server refuses, unless it may yet answer."""
    try:
        yield
    except NotFoundError as error:
        raise InvalidInputError(error.message, field=field) from error
    except TrackingServerError as error:
        if error.is_temporary:
            raise
        raise InvalidInputError(error.message, field=field) from error


def _check_owner(field: str, said: str | None, expected: str) -> None:
    if said != expected:
        raise InvalidInputError(
            f"the source is of {expected}, but {field} is {said or 'missing'}",
            field=field,
        )
