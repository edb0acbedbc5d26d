"""Tags of models and versions: set, and removed by a value of None."""

from collections.abc import Mapping

from sqlalchemy import delete
from sqlalchemy.orm import Session

from registry.domain import names
from registry.persistence.tables import ModelTag, VersionTag

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
