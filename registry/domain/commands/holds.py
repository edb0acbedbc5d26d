"""Holds that are set and lifted by hand."""

from dataclasses import dataclass, replace
from datetime import datetime

from registry.domain import names
from registry.domain.actors import ActorKind
from registry.domain.commands.change import (
    Context,
    Outcome,
    Snapshot,
    Want,
    outcome,
)
from registry.domain.entries import Change
from registry.domain.events import HOLD_LIFTED, HOLD_SET, Held
from registry.domain.holds import Hold, with_hold, without_hold
from registry.domain.policy import StagePolicy
from registry.errors import (
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
    PromptStageError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetHold:
    """Keep every version of a model out of a stage."""

    model: str
    stage: str
    reason: str
    until: datetime | None = None

    def want(self, policy: StagePolicy) -> Want:
        """Ask for the model alone."""
        policy.for_model(self.model).stage(self.stage, field="stage")
        return Want()

    def decide(self, seen: Snapshot, context: Context) -> Outcome[Hold]:
        """Decide what holds the stage from now on.

        Raises:
            InvalidInputError: for an unknown stage, no reason, or an end that is over.
            PermissionDeniedError: when a CI job asks, and one stands that is by hand.
        """
        stage = context.policy.for_model(self.model).stage(self.stage, field="stage")
        if seen.model.is_prompt:
            raise PromptStageError(stage)
        if self.until is not None and self.until <= context.now:
            raise InvalidInputError("is over already", field="until")
        self._allow(seen, context, stage)
        model = seen.model.touched(context.now)
        hold = Hold(
            stage=stage,
            reason=names.filled_text(
                self.reason, field="reason", most=names.MAX_TEXT_CHARACTERS
            ),
            by=context.caller.actor.name,
            at=model.updated_at,
            until=self.until,
        )
        told: Held = {"hold": hold.document}
        return outcome(
            seen,
            context,
            replace(model, holds=with_hold(model.holds, hold)),
            Change(action=HOLD_SET, after=dict(hold.document), reason=hold.reason),
            data=dict(told),
            answer=hold,
        )

    @staticmethod
    def _allow(seen: Snapshot, context: Context, stage: str) -> None:
        """Keep a CI job from ending a hold by one that ends sooner."""
        is_held = any(
            hold.stage == stage and hold.version is None and hold.stands_at(context.now)
            for hold in map(Hold.of, seen.model.holds)
        )
        if is_held and context.caller.actor.kind is ActorKind.CI:
            raise PermissionDeniedError("a person changes a hold, not a CI job")


@dataclass(frozen=True, slots=True, kw_only=True)
class LiftHold:
    """Let versions into a stage again."""

    model: str
    stage: str
    reason: str = ""

    def want(self, policy: StagePolicy) -> Want:
        """Ask for the model alone."""
        policy.for_model(self.model).stage(self.stage, field="stage")
        return Want()

    def decide(self, seen: Snapshot, context: Context) -> Outcome[None]:
        """Decide whether there is one; of two, both are lifted.

        Raises:
            NotFoundError: when nothing holds the stage.
            PermissionDeniedError: when a CI job asks.
        """
        stage = context.policy.for_model(self.model).stage(self.stage, field="stage")
        of_model = [Hold.of(each).document for each in seen.model.holds]
        holds = [hold for hold in of_model if hold["stage"] == stage]
        if not holds:
            raise NotFoundError(f"nothing holds {stage} of model {self.model!r}")
        if context.caller.actor.kind is ActorKind.CI:
            raise PermissionDeniedError("a person lifts a hold, not a CI job")
        model = seen.model.touched(context.now)
        told: list[Held] = [{"hold": hold} for hold in holds]
        return outcome(
            seen,
            context,
            replace(model, holds=without_hold(model.holds, stage)),
            Change(
                action=HOLD_LIFTED,
                before=dict(holds[0]),
                reason=names.prose(self.reason, field="reason"),
                details={"besides": holds[1:]} if holds[1:] else {},
            ),
            data=dict(told[0]),
            also=[(HOLD_LIFTED, dict(each)) for each in told[1:]],
            answer=None,
        )
