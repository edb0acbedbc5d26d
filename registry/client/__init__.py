"""The Python client of a Stagegate registry.

    from registry.client import RegistryClient

    with RegistryClient("http://127.0.0.1:8000", token) as client:
        version = client.register("fraud", Path("model/"), metrics={"auc": 0.93})
        client.transition("fraud", version.version, "Staging")

Rules:

- Answers are frozen dataclasses; what goes wrong is a ``RegistryError``.
- Every call that changes something can be repeated by the transport, and has one
  effect: it carries an idempotency key, one of its own unless given.
- A client is not shared between threads: ``requests`` does not promise that.
- Nothing is printed and nothing is loaded: an artifact is bytes.
"""

from registry.client.ci_jobs import JobToken
from registry.client.downloads import DownloadedFile
from registry.client.registry_client import RegistryClient
from registry.client.rollout import Rollout
from registry.client.transport import EffectKey
from registry.client.types import (
    ApprovalRecord,
    ArtifactFile,
    AttemptRecord,
    AuditRecord,
    CheckRecord,
    DeliveryRecord,
    DeploymentRecord,
    EventRecord,
    GateRecord,
    HistoryEntry,
    HoldRecord,
    ModelVersion,
    Moved,
    PreviewRecord,
    Progress,
    PublisherRecord,
    RegisteredModel,
    RoleBindingRecord,
    StagePolicyRecord,
    Subscription,
    TokenRecord,
    Transition,
    TransitionRequest,
    VersionFacts,
)

__all__ = [
    "ApprovalRecord",
    "ArtifactFile",
    "AttemptRecord",
    "AuditRecord",
    "CheckRecord",
    "DeliveryRecord",
    "DeploymentRecord",
    "DownloadedFile",
    "EffectKey",
    "EventRecord",
    "GateRecord",
    "HistoryEntry",
    "HoldRecord",
    "JobToken",
    "ModelVersion",
    "Moved",
    "PreviewRecord",
    "Progress",
    "PublisherRecord",
    "RegisteredModel",
    "RegistryClient",
    "RoleBindingRecord",
    "Rollout",
    "StagePolicyRecord",
    "Subscription",
    "TokenRecord",
    "Transition",
    "TransitionRequest",
    "VersionFacts",
]
