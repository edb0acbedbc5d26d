"""What a plan must know of a model here, read through ``/api/v1``.

Reading stops at what the plan needs: the history only where stages differ, the
audit log only where a number is to be given.
"""

from registry.client import ModelVersion, RegistryClient
from registry.errors import NotFoundError
from registry.importing.states import (
    REASON_PREFIX,
    Rules,
    SourceModel,
    TargetModel,
    TargetVersion,
)

_REGISTERED = {"model_version.registered", "prompt_version.created"}
_CREATED = {"registered_model.created", "prompt.created"}


def read_rules(client: RegistryClient, name: str) -> Rules:
    """The stage policy for models of this name."""
    found = client.policy(name)
    return Rules(
        transitions={
            stage: tuple(reachable) for stage, reachable in found.transitions.items()
        },
        exclusive=found.exclusive,
        deletable=frozenset(found.deletable),
    )


def read_model(
    client: RegistryClient, name: str, source: SourceModel
) -> TargetModel | None:
    """The model here, as far as ``source`` makes it matter; None without one."""
    try:
        model = client.get_model(name)
    except NotFoundError:
        return None
    versions = {one.version: one for one in client.versions(name)}
    moved_here = _moved_here(client, name, versions, source)
    return TargetModel(
        description=model.description,
        tags=model.tags,
        aliases=model.aliases,
        versions={
            number: TargetVersion(
                number=number,
                source=one.source or "",
                stage=one.stage,
                status=one.status,
                description=one.description,
                tags=one.tags,
                is_ours=number not in moved_here,
            )
            for number, one in versions.items()
        },
        last_number=_last_number(client, name, versions, source),
    )


def _moved_here(
    client: RegistryClient,
    name: str,
    versions: dict[int, ModelVersion],
    source: SourceModel,
) -> set[int]:
    """The versions whose last stage change was not made by an import."""
    differs = any(
        number in versions and versions[number].stage != one.stage
        for number, one in source.versions.items()
    )
    is_new = source.versions.keys() - versions.keys()
    if not (differs or is_new):
        return set()
    last_reasons: dict[int, str] = {}
    for entry in client.history(name):  # newest first
        last_reasons.setdefault(entry.version, entry.reason or "")
    return {
        number
        for number, reason in last_reasons.items()
        if not reason.startswith(REASON_PREFIX)
    }


def _last_number(
    client: RegistryClient,
    name: str,
    versions: dict[int, ModelVersion],
    source: SourceModel,
) -> int:
    """The highest number ever given, which may be that of a deleted version."""
    highest = max(versions, default=0)
    if all(number <= highest for number in source.versions):
        return highest
    for entry in client.audit.entries(model=name):  # newest first
        if entry.action in _REGISTERED and entry.version:
            return max(highest, entry.version)
        if entry.action in _CREATED:
            break
    return highest
