"""The one way in which a model is changed: lock, gather, decide, apply, publish.

Rules:

- The model's row is locked first; everything is read after that.
- A command decides, once, from what it was shown (``domain.commands``).
- What it decided is written in the caller's transaction, which commits once: the
  change, its audit entry, its events and their deliveries, or nothing.
"""

from typing import TypeVar

from sqlalchemy import select

from registry.domain.commands.change import (
    Command,
    Context,
    Effects,
    EventDraft,
    Outcome,
    Snapshot,
)
from registry.domain.commands.models import CreateModel, ModelState
from registry.errors import NameTakenError
from registry.persistence import snapshot
from registry.persistence.apply import NameIsTakenError, apply
from registry.persistence.statements import MODELS
from registry.services.transaction import Transaction
from webhooks import outbox
from webhooks.events import Event, new_event_id
from webhooks.statements import pipelined

Answer = TypeVar("Answer")


def execute(tx: Transaction, command: Command[Answer]) -> Answer:
    """Carry a command out, in the caller's transaction; return what it decided.

    Raises:
        RegistryError: as the command's ``decide``, or without such a model.
    """
    return carry_out(tx, command, look(tx, command))


def carry_out(tx: Transaction, command: Command[Answer], seen: Snapshot) -> Answer:
    """As ``execute``, from what was seen in this transaction already."""
    outcome = command.decide(seen, context_of(tx))
    _write(tx, outcome)
    return outcome.answer


def preview(tx: Transaction, command: Command[Answer]) -> Outcome[Answer]:
    """Return what a command decides, in the caller's transaction; nothing is written.

    Raises:
        RegistryError: as ``execute``.
    """
    return command.decide(look(tx, command), context_of(tx))


def look(tx: Transaction, command: Command[Answer]) -> Snapshot:
    """Return what a command wants to see, its model locked from now on.

    Raises:
        RegistryError: without such a model, or as the command's ``want``.
    """
    model = snapshot.lock(tx.cx, command.model)
    return snapshot.gather(tx.cx, model, command.want(tx.policy))


def create(tx: Transaction, command: CreateModel) -> ModelState:
    """Register a model; there is nothing to lock.

    Raises:
        InvalidInputError: for a name or tag that breaks the rules.
        NameTakenError: when the name is taken.
    """
    outcome = command.decide(context_of(tx))
    _write(tx, outcome)
    return outcome.answer


def context_of(tx: Transaction) -> Context:
    """By whom and when, for a command to decide."""
    return Context(
        caller=tx.caller, policy=tx.policy, now=tx.now, new_event_id=new_event_id
    )


def _write(tx: Transaction, outcome: Outcome[Answer]) -> None:
    effects = outcome.effects
    if effects is None:
        return
    hop = tx.caller.hop
    events = [event_of(effects, draft, hop=hop) for draft in effects.events]
    try:
        with pipelined(tx.cx):
            apply(tx.cx, effects)
            stored, unsendable = outbox.store(tx.cx, events, now=tx.now)
    except NameIsTakenError as error:
        raise _name_taken(tx, effects.model.name) from error
    tx.fanouts.extend(event["fanout"] for event in stored)
    if unsendable:
        outbox.give_up(tx.session, unsendable, now=tx.now)


def event_of(effects: Effects, draft: EventDraft, *, hop: int) -> Event:
    """Return an event; ``to_stage``, where it says one, is its target.

    ``hop`` is how many webhooks led here.
    """
    model = effects.model
    return Event(
        id=draft.id,
        type=draft.type,
        ordering_key=model.id,
        subject=model.name,
        former_subjects=effects.former_names,
        target=draft.data.get("to_stage"),
        data=draft.data,
        occurred_at=model.updated_at,
        sequence=draft.sequence,
        hop=hop + 1,
        is_opt_in=draft.is_opt_in,
    )


def _name_taken(tx: Transaction, name: str) -> NameTakenError:
    tx.cx.rollback()  # nothing is kept; who has the name is read to be told
    holder = select(MODELS.c.is_prompt).where(
        MODELS.c.name == name, MODELS.c.deleted_at.is_(None)
    )
    return NameTakenError(name, is_prompt=bool(tx.cx.scalar(holder)))
