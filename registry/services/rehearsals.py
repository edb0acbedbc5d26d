"""What would become of changes to a model, without making them.

Each is carried out as ever, by the code that makes it, in a transaction that is never
committed: what would refuse it then refuses it now.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from registry.domain.commands.aliases import SetAlias
from registry.domain.commands.models import ChangeModel, CreateModel
from registry.domain.commands.moves import Moved, MoveVersion
from registry.domain.commands.registration import RegisterVersion
from registry.domain.commands.versions import ChangeVersion
from registry.domain.rows import VersionRow, VersionStatus
from registry.errors import CrowdedStageError, ModelNotFoundError
from registry.services.commands import create, execute, look
from registry.services.transaction import Transaction


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """Changes to a model and to one version, in their order.

    Attributes:
        model: what a model that is missing is created with, another changed to.
        version: the version to register, or None.
        changes: what to change of a version that is there, or None.
        number: that version, without ``changes`` too; None without one.
        through: the stages that the version enters, one after the other.
        verified_digest: its artifact's, as hashed for the first move; one that is
            registered here was hashed for that.
        aliases: to point at the version.
    """

    model: ChangeModel
    version: RegisterVersion | None = None
    changes: ChangeVersion | None = None
    number: int | None = None
    through: Sequence[str] = ()
    verified_digest: str | None = None
    aliases: Sequence[str] = ()


def rehearse(tx: Transaction, changes: Rehearsal) -> VersionRow | None:
    """Return the version as it would be; None without one.

    Raises:
        RegistryError: what the first change would end in that would be refused.
    """
    name = changes.model.model
    _rehearse_model(tx, changes.model)
    number, digest = changes.number, changes.verified_digest
    version: VersionRow | None = None
    if changes.version is not None:
        version = execute(tx, changes.version)
        number, digest = version.number, version.artifact_digest
    if number is None:
        return None
    if changes.changes is not None:
        version = execute(tx, changes.changes)
    # What is still to be hashed is moved once it is, and not before.
    is_hashed = not version or version.status != VersionStatus.PENDING_REGISTRATION
    if is_hashed:
        for stage in changes.through:
            move = MoveVersion(
                model=name, number=number, to_stage=stage, verified_digest=digest
            )
            try:
                version = execute(tx, move).version
            except CrowdedStageError:
                break  # nothing refuses it; it is only made in parts, and not in vain
            digest = version.artifact_digest  # nobody has touched it in between
    moved = _rehearse_aliases(tx, changes, number, digest, is_hashed=is_hashed)
    return moved or version


def _rehearse_aliases(
    tx: Transaction,
    changes: Rehearsal,
    number: int,
    digest: str | None,
    *,
    is_hashed: bool,
) -> VersionRow | None:
    """Return the version as the last of those left it that are bound to a stage."""
    version = None
    for alias in changes.aliases:
        command = SetAlias(model=changes.model.model, alias=alias, number=number)
        bound = command.bound(tx.policy)
        if bound is None:
            execute(tx, command)
        elif is_hashed:
            move = replace(bound, verified_digest=digest)
            with suppress(CrowdedStageError):  # as above
                done = execute(tx, replace(command, move=move))
                version = done.version if isinstance(done, Moved) else version
    return version


def _rehearse_model(tx: Transaction, changes: ChangeModel) -> None:
    try:
        look(tx, changes)
    except ModelNotFoundError:
        new = CreateModel(
            model=changes.model,
            description=changes.description or "",
            tags=changes.tags or {},
        )
        create(tx, new)
    else:
        if changes != ChangeModel(model=changes.model):
            execute(tx, changes)
