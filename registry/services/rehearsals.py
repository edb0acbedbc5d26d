"""What would become of changes to a model, without making them.

Each is carried out as ever, by the code that makes it, in a transaction that is never
committed: what would refuse it then refuses it now.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from registry.domain.policy import VersionStatus
from registry.errors import CrowdedStageError, ModelNotFoundError
from registry.persistence import queries
from registry.persistence.tables import RegisteredModel
from registry.services import aliases, models, registration, transitions, versions
from registry.services.documents import Document
from registry.services.models import ModelChanges
from registry.services.preparing import PreparedVersion
from registry.services.transaction import Transaction
from registry.services.transitions import MoveRequest
from registry.services.versions import VersionChanges, VersionRef


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """Changes to a model and to one version, in their order.

    Attributes:
        model: what a model that is missing is created with, another changed to.
        version: the version to register, or None.
        number: the one that it gets, at least; without it a version that is there.
        changes: what to change of that.
        through: the stages that the version enters, one after the other.
        verified_digest: its artifact's, as hashed for the first move; one that is
            registered here was hashed for that.
        aliases: to point at the version.
    """

    model: ModelChanges
    version: PreparedVersion | None = None
    number: int | None = None
    changes: VersionChanges | None = None
    through: Sequence[str] = ()
    verified_digest: str | None = None
    aliases: Sequence[str] = ()


def rehearse(
    tx: Transaction, name: str, changes: Rehearsal, *, artifact_root: str
) -> Document | None:
    """The version as it would be; None without one.

    Raises:
        RegistryError: what the first change would end in that would be refused.
    """
    model = _rehearsed_model(tx, name, changes.model)
    number, digest = changes.number, changes.verified_digest
    version: Document | None = None
    if changes.version is not None:
        model.last_number = max(model.last_number, (number or 1) - 1)
        tx.session.flush()
        version = registration.create_version(
            tx,
            name,
            changes.version.details,
            link=changes.version.link,
            artifact_root=artifact_root,
        )
        number, digest = version["version"], version["artifact_digest"]
    if number is None:
        return None
    if changes.changes is not None:
        ref = VersionRef(model=name, number=number)
        version = versions.update_version(tx, ref, changes.changes)
    # What is still to be hashed is moved once it is, and not before.
    if version is None or version["status"] != VersionStatus.PENDING_REGISTRATION:
        through = changes.through
        version = _moved(tx, name, number, through=through, digest=digest) or version
    for alias in changes.aliases:
        aliases.set_alias(tx, name, alias, number)
    return version


def _moved(
    tx: Transaction,
    name: str,
    number: int,
    *,
    through: Sequence[str],
    digest: str | None,
) -> Document | None:
    version: Document | None = None
    for stage in through:
        move = MoveRequest(
            model=name, number=number, to_stage=stage, verified_digest=digest
        )
        try:
            version = transitions.move_version(tx, move)["version"]
        except CrowdedStageError:
            break  # nothing refuses it; it is only made in parts, and not in vain
        digest = version["artifact_digest"]  # nobody has touched it in between
    return version


def _rehearsed_model(
    tx: Transaction, name: str, changes: ModelChanges
) -> RegisteredModel:
    try:
        queries.lock_model(tx.session, name)
    except ModelNotFoundError:
        models.create_model(
            tx, name, description=changes.description or "", tags=changes.tags
        )
    else:
        if changes != ModelChanges():
            models.update_model(tx, name, changes)
    return queries.lock_model(tx.session, name)
