"""Roles, and what each is for.

Rules:

- A grant is a role for the models whose name matches a pattern; ``*`` stands for any
  characters and ``?`` for one. ``viewer``, ``auditor`` and ``admin`` are for all.
- A credential may be confined to scopes: then it does nothing else, whatever its
  bearer may do, and nothing that is no model's.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Self

from registry.domain import names
from registry.errors import InvalidInputError

EVERY_MODEL = "*"
MAX_PATTERN_CHARACTERS = names.MAX_NAME_CHARACTERS
MAX_SCOPES = 20
#: Square brackets mean different things to databases, shells and people.
PATTERN = rf"[^\[\]\x00-\x1f]{{1,{MAX_PATTERN_CHARACTERS}}}"
_PATTERN = re.compile(PATTERN)


class Action(StrEnum):
    """What can be done; the first five are done to a model."""

    READ = "read"
    WRITE = "write"  #: register models and versions, describe and tag them
    PROMOTE = "promote"  #: move versions between stages, hold stages
    APPROVE = "approve"  #: approve and reject transition requests
    BREAK_GLASS = "break-glass"  #: move a version past its gates, with a reason
    AUDIT = "audit"  #: read the private parts of the audit log
    ADMINISTER = "administer"  #: tokens, roles, publishers and webhooks


OF_MODELS = tuple(Action)[:5]


class Role(StrEnum):
    """A set of actions: the first three for all models, the others by pattern."""

    VIEWER = "viewer"  #: reads everything but secrets
    AUDITOR = "auditor"  #: reads the private parts of the audit log, too
    ADMIN = "admin"  #: does everything
    READER = "reader"
    WRITER = "writer"  #: registers models and versions
    PROMOTER = "promoter"  #: moves versions between stages
    APPROVER = "approver"
    BREAK_GLASS = "break-glass"

    @property
    def actions(self) -> frozenset[Action]:
        """Return what the role is for."""
        return _ACTIONS[self]

    @property
    def is_global(self) -> bool:
        """Whether it is for all models or none."""
        return self in {Role.VIEWER, Role.AUDITOR, Role.ADMIN}


_ACTIONS = {
    Role.VIEWER: frozenset({Action.READ}),
    Role.AUDITOR: frozenset({Action.READ, Action.AUDIT}),
    Role.ADMIN: frozenset(Action),
    Role.READER: frozenset({Action.READ}),
    Role.WRITER: frozenset({Action.READ, Action.WRITE}),
    Role.PROMOTER: frozenset({Action.READ, Action.WRITE, Action.PROMOTE}),
    Role.APPROVER: frozenset({Action.READ, Action.APPROVE}),
    Role.BREAK_GLASS: frozenset({Action.READ, Action.PROMOTE, Action.BREAK_GLASS}),
}


@dataclass(frozen=True, slots=True)
class Grant:
    """A role for the models whose name matches."""

    role: Role
    models: str = EVERY_MODEL

    def __str__(self) -> str:
        """Return ``role``, or ``role:pattern`` where it is not for all models."""
        is_for_all = self.models == EVERY_MODEL
        return self.role.value if is_for_all else f"{self.role.value}:{self.models}"

    def allows(self, action: Action, model: str | None) -> bool:
        """Whether it lets the action be done, to the model or, with None, to some."""
        return action in self.role.actions and _matches(self.models, model)

    @classmethod
    def parse(
        cls, role: str, models: str = EVERY_MODEL, *, field: str = "role"
    ) -> Self:
        """Return the grant of a role by its name.

        Raises:
            InvalidInputError: for an unknown role, a malformed pattern, or a pattern
                beside a role that is for all models.
        """
        known = [role.value for role in Role]
        if role not in known:
            raise InvalidInputError(f"expected one of {', '.join(known)}", field=field)
        grant = cls(Role(role), model_pattern(models))
        if grant.role.is_global and models != EVERY_MODEL:
            raise InvalidInputError(
                f"role {role} is for all models and takes no pattern", field="models"
            )
        return grant


@dataclass(frozen=True, slots=True)
class Scope:
    """One action on the models whose name matches, as ``action:pattern``."""

    action: Action
    models: str

    def __str__(self) -> str:
        """Return ``action:pattern``."""
        return f"{self.action.value}:{self.models}"

    def allows(self, action: Action, model: str | None) -> bool:
        """Whether it lets the action be done; whoever may act may read, too."""
        return action in {self.action, Action.READ} and _matches(self.models, model)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the scope that ``action:pattern`` says.

        Raises:
            InvalidInputError: for another text.
        """
        action, _, models = text.partition(":")
        known = [action.value for action in OF_MODELS]
        if action not in known:
            raise InvalidInputError(
                f"expected ACTION:PATTERN with one of {', '.join(known)}, "
                f"got {text[:80]!r}",
                field="scopes",
            )
        return cls(Action(action), model_pattern(models, field="scopes"))


def model_pattern(text: str, *, field: str = "models") -> str:
    """Return a pattern for names of models, in NFC as they are.

    Raises:
        InvalidInputError: for one that is empty, too long or has square brackets.
    """
    pattern = names.clean_text(text, field=field)
    if not _PATTERN.fullmatch(pattern):
        raise InvalidInputError(
            f"expected a name with * and ?, of at most {MAX_PATTERN_CHARACTERS} "
            "characters and without square brackets",
            field=field,
        )
    return pattern


def _matches(pattern: str, model: str | None) -> bool:
    return model is None or pattern == EVERY_MODEL or fnmatchcase(model, pattern)
