"""What becomes of a stage change: its deliveries, then its deployments.

Rules:

- Every delivery is waited for. A deployment is waited for once its consumer has
  reported one; a consumer that never reports is not waited for, since nobody can
  tell it from one that is slow, unless ``must_deploy`` asks for a report.
- A consumer that reports before it acknowledges the delivery is always waited for.
- What will not end well by itself ends the waiting at once.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from registry.client.deployments import DeploymentCalls
from registry.client.registration import wait_for
from registry.client.types import DeliveryRecord, DeploymentRecord, Transition
from registry.client.webhooks import DeliveryCalls
from registry.errors import RegistryError


@dataclass(frozen=True)
class Rollout:
    """How far a stage change has come."""

    deliveries: Sequence[DeliveryRecord] = ()
    deployments: Sequence[DeploymentRecord] = ()

    @property
    def is_delivered(self) -> bool:
        """Whether every receiver took it."""
        return all(delivery.is_acknowledged for delivery in self.deliveries)

    @property
    def is_deployed(self) -> bool:
        """Whether every deployment that was reported has succeeded."""
        return all(deployment.has_succeeded for deployment in self.deployments)

    def failure(self) -> RegistryError | None:
        """Return why it will not be completed by itself, if that is so."""
        for delivery in self.deliveries:
            if delivery.has_failed:
                return RegistryError(
                    f"Delivery {delivery.id} is {delivery.state}: "
                    f"{delivery.reason or 'no reason is recorded'}"
                )
        for deployment in self.deployments:
            if deployment.has_failed:
                return RegistryError(_failed(deployment))
        return None

    def outstanding(self, *, must_deploy: bool) -> str:
        """Return what is still waited for."""
        waiting = [
            f"delivery {delivery.id} is {delivery.state}"
            for delivery in self.deliveries
            if not delivery.is_acknowledged
        ]
        waiting += [
            f"deployment to {deployment.environment} is {deployment.status}"
            for deployment in self.deployments
            if not deployment.has_succeeded
        ]
        if must_deploy and not self.deployments:
            waiting.append("no deployment has been reported")
        return ", ".join(waiting)


#: Told what was found, each time that somebody looked.
OnLook = Callable[[Rollout], None]


def _failed(deployment: DeploymentRecord) -> str:
    facts = (deployment.description, deployment.url)
    more = "".join(f": {fact}" for fact in facts if fact)
    return f"Deployment to {deployment.environment} failed{more}"


@dataclass(frozen=True)
class RolloutWatch:
    """Looks at one stage change until it is delivered and deployed."""

    deliveries: DeliveryCalls
    deployments: DeploymentCalls
    transition: Transition
    must_deploy: bool = False
    on_look: OnLook | None = None

    def wait(self, timeout_seconds: float) -> Rollout:
        """Wait for it.

        Raises:
            RegistryError: when a delivery or a deployment has failed.
            WaitTimeoutError: when the time is up.
        """
        seen = Rollout()

        def look() -> Rollout | None:
            nonlocal seen
            seen = self._look()
            return seen if self._is_over(seen) else None

        return wait_for(
            look,
            timeout_seconds,
            lambda: seen.outstanding(must_deploy=self.must_deploy),
        )

    def _look(self) -> Rollout:
        # In this order: one who reports and then acknowledges is never missed.
        deliveries = list(self.deliveries.of_transition(self.transition.transition_id))
        rollout = Rollout(deliveries, list(self._reported()))
        if self.on_look:
            self.on_look(rollout)
        failure = rollout.failure()
        if failure:
            raise failure
        return rollout

    def _reported(self) -> Iterator[DeploymentRecord]:
        version = self.transition.version
        return self.deployments.list(
            version.model,
            version.version,
            transition_id=self.transition.transition_id,
        )

    def _is_over(self, rollout: Rollout) -> bool:
        is_reported = bool(rollout.deployments) or not self.must_deploy
        return rollout.is_delivered and rollout.is_deployed and is_reported
