"""Tags of models and versions: set, removed by a value of None, and told of."""

from collections.abc import Mapping

from sqlalchemy import delete
from sqlalchemy.orm import Session

from registry.domain import names
from registry.persistence.tables import ModelTag, VersionTag
from registry.services.documents import Document

Tags = Mapping[str, str | None]


def write_model_tags(
    session: Session, model_id: str, tags: Tags, *, present: Mapping[str, str]
) -> None:
    """Set and remove tags of a model, which has those ``present``.

    Raises:
        InvalidInputError: for a key or value that breaks the rules, or too much.
    """
    cleaned = names.tags(tags)
    if not cleaned:
        return
    names.require_room_for_tags(present, cleaned)
    session.execute(
        delete(ModelTag).where(ModelTag.model_id == model_id, ModelTag.key.in_(cleaned))
    )
    session.add_all(
        ModelTag(model_id=model_id, key=key, value=value)
        for key, value in cleaned.items()
        if value is not None
    )
    session.flush()


def write_version_tags(
    session: Session, version_id: str, tags: Tags, *, present: Mapping[str, str]
) -> None:
    """Set and remove tags of a version, which has those ``present``.

    Raises:
        InvalidInputError: for a key or value that breaks the rules, or too much.
    """
    cleaned = names.tags(tags)
    if not cleaned:
        return
    names.require_room_for_tags(present, cleaned)
    session.execute(
        delete(VersionTag).where(
            VersionTag.version_id == version_id, VersionTag.key.in_(cleaned)
        )
    )
    session.add_all(
        VersionTag(version_id=version_id, key=key, value=value)
        for key, value in cleaned.items()
        if value is not None
    )
    session.flush()


def tag_events(
    about: Document, *, before: Mapping[str, str], tags: Tags, types: tuple[str, str]
) -> list[tuple[str, Document]]:
    """One event for each tag that was set, or was there and is no longer.

    ``types`` are the event's types, of a tag that is set and of one that is deleted.
    """
    is_set, is_deleted = types
    return [
        (is_deleted, {**about, "key": key})
        if value is None
        else (is_set, {**about, "key": key, "value": value})
        for key, value in names.tags(tags).items()
        if value is not None or key in before
    ]
