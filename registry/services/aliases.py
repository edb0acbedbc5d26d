"""Aliases: names that point at a version of a model."""

from sqlalchemy.orm import Session

from registry.domain import names
from registry.errors import AliasNotFoundError
from registry.persistence import queries
from registry.persistence.tables import Alias, RegisteredModel
from registry.services.audit import Change
from registry.services.changes import record_change, touch, version_event
from registry.services.documents import Document
from registry.services.transaction import Transaction

SET = "model_version.alias_set"
DELETED = "model_version.alias_deleted"


def set_alias(
    tx: Transaction, model_name: str, alias_text: str, number: int
) -> Document:
    """Point an alias at a version, wherever it pointed before.

    Raises:
        NotFoundError: when model or version do not exist.
        InvalidInputError: for an alias that breaks the rules.
    """
    name = names.alias_name(alias_text)
    model = queries.lock_model(tx.session, model_name)
    version = queries.get_version(tx.session, model.name, number)
    alias = tx.session.get(Alias, (model.id, name))
    previous = alias.number if alias else None
    if alias is None:
        alias = Alias(model_id=model.id, alias=name)
        tx.session.add(alias)
    alias.version_id, alias.number = version.id, version.number
    at = touch(model, version, tx.now)
    tx.session.flush()
    change = Change(
        action=SET,
        model=model.name,
        version=version.number,
        before={"alias": name, "version": previous},
        after={"alias": name, "version": version.number},
    )
    data = {
        **version_event(tx.caller, model, version),
        "alias": name,
        "previous_version": previous,
    }
    record_change(tx, model, change, data=data, at=at)
    return {"alias": name, "version": version.number}


def delete_alias(tx: Transaction, model_name: str, alias_text: str) -> None:
    """Remove an alias.

    Raises:
        NotFoundError: when model or alias do not exist.
    """
    model = queries.lock_model(tx.session, model_name)
    alias = _existing(tx.session, model, alias_text)
    version = queries.get_version(tx.session, model.name, alias.number)
    tx.session.delete(alias)
    at = touch(model, version, tx.now)
    tx.session.flush()
    change = Change(
        action=DELETED,
        model=model.name,
        version=version.number,
        before={"alias": alias.alias, "version": version.number},
    )
    data = {**version_event(tx.caller, model, version), "alias": alias.alias}
    record_change(tx, model, change, data=data, at=at)


def _existing(session: Session, model: RegisteredModel, alias: str) -> Alias:
    found = session.get(Alias, (model.id, names.clean_text(alias, field="alias")))
    if found is None:
        raise AliasNotFoundError(model.name, alias)
    return found
