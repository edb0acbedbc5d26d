"""The errors a registry call can end in, as one small tree.

    RegistryError
    ├── NotFoundError              the thing named does not exist
    │   ├── ModelNotFoundError     no model of that name
    │   ├── VersionNotFoundError   no version of that number
    │   ├── AliasNotFoundError     the model has no such alias
    │   └── ArtifactNotFoundError  no artifact at that address
    │       └── BucketNotFoundError    nor a bucket of that name
    ├── ConflictError              the present state does not allow it
    │   ├── NameTakenError         a model of that name exists
    │   ├── DeletionRefusedError   the policy protects what is in use
    │   ├── CrowdedStageError      room is to be made in the stage first
    │   ├── WebhookLoopError       webhooks call us, and we them, without an end
    │   ├── TransitionRefusedError the stage policy says no
    │   │   └── PromptStageError       it is a prompt, which has no stages
    │   └── ArtifactChangedError   the artifact is not what was registered
    ├── StaleExpectationError      the caller's picture of the state is old
    │   └── CursorExpiredError     what lies behind the cursor was removed
    ├── InvalidInputError          a value breaks a rule; names the field
    │   └── IdempotencyMismatchError  the key was used with another request
    ├── NotSignedInError           no credential, or not a valid one
    │   └── NoCredentialError      none at all, or a session that is over
    ├── PermissionDeniedError      signed in, but the role does not allow it
    │   └── CrossOriginError       a page of somebody else's sent the browser here
    ├── TooManyAttemptsError       this source has failed too often
    ├── ArtifactStoreError         the artifact store did not do its part
    │   ├── ArtifactAccessDeniedError  our credentials do not open it
    │   └── TrackingServerError    nor did the MLflow tracking server
    ├── IdentityProviderError      nor did the identity provider
    ├── BusyError                  too much of this is under way already
    │   └── VerificationBusyError  another request is reading the artifact
    ├── ServerUnreachableError     the client got no answer from the server
    ├── WaitTimeoutError           the client waited as long as it was told to
    ├── IntegrityViolationError    stored data contradicts itself
    └── ConfigurationError         settings or policy file; lists every problem

Rules:

- A class docstring is its default message.
- Facts a program may need are attributes; the message is for people.
- Nothing here knows HTTP: ``registry.api.problems`` maps classes to statuses.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar


class RegistryError(Exception):
    """The registry could not do what was asked."""

    slug: ClassVar[str] = "internal"

    def __init__(self, message: str | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        super().__init__(self.message)

    @property
    def facts(self) -> Mapping[str, object]:
        """Machine-readable members for the problem document."""
        return {}


class NotFoundError(RegistryError):
    """There is no such thing."""

    slug = "not-found"


class ModelNotFoundError(NotFoundError):
    """There is no such model."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no model {name!r}")
        self.name = name


class VersionNotFoundError(NotFoundError):
    """There is no such version."""

    def __init__(self, name: str, number: int) -> None:
        super().__init__(f"there is no version {number} of model {name!r}")
        self.name = name
        self.number = number


class AliasNotFoundError(NotFoundError):
    """There is no such alias."""

    def __init__(self, name: str, alias: str) -> None:
        super().__init__(f"model {name!r} has no alias {alias!r}")
        self.name = name
        self.alias = alias


class ArtifactNotFoundError(NotFoundError):
    """There is no artifact at that address."""

    slug = "artifact-not-found"


class BucketNotFoundError(ArtifactNotFoundError):
    """The store has no such bucket."""


class ConflictError(RegistryError):
    """The present state does not allow this."""

    slug = "conflict"


class NameTakenError(ConflictError):
    """A model, or a prompt, of this name exists."""

    def __init__(self, name: str, *, is_prompt: bool = False) -> None:
        kind = "prompt" if is_prompt else "model"
        super().__init__(f"a {kind} named {name!r} exists already")
        self.name = name
        self.is_prompt = is_prompt


class DeletionRefusedError(ConflictError):
    """The policy protects what is in use."""


class TransitionRefusedError(ConflictError):
    """The stage policy refuses this transition."""

    slug = "transition-refused"

    def __init__(
        self,
        message: str,
        *,
        from_stage: str,
        to_stage: str,
        allowed: Sequence[str],
        reasons: Sequence[str] = (),
        is_rollback_only: bool = False,
    ) -> None:
        super().__init__(message)
        self.from_stage = from_stage
        self.to_stage = to_stage
        self.is_rollback_only = is_rollback_only
        self.allowed = tuple(allowed)
        self.reasons = tuple(reasons)

    @property
    def facts(self) -> Mapping[str, object]:
        """From, to, the stages allowed from here and every reason."""
        return {
            "from_stage": self.from_stage,
            "to_stage": self.to_stage,
            "allowed": list(self.allowed),
            "reasons": list(self.reasons),
        }


class AliasRefusedError(ConflictError):
    """The stage policy refuses to let this alias point there."""

    slug = "alias-refused"

    def __init__(self, message: str, reasons: Sequence[str]) -> None:
        super().__init__(message)
        self.reasons = tuple(reasons)

    @property
    def facts(self) -> Mapping[str, object]:
        """Every reason."""
        return {"reasons": list(self.reasons)}


class PromptStageError(TransitionRefusedError):
    """A prompt has no stages; point an alias at the version that is to be used."""

    def __init__(self, to_stage: str) -> None:
        super().__init__(
            str(self.__doc__),
            from_stage="None",
            to_stage=to_stage,
            allowed=(),
            reasons=("prompts have no stages",),
        )


class ArtifactChangedError(ConflictError):
    """The artifact is not what was registered."""

    slug = "artifact-changed"

    def __init__(self, message: str, differences: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.differences = tuple(differences) or (message,)

    @property
    def facts(self) -> Mapping[str, object]:
        """Each difference between the manifest and the store, as a sentence."""
        return {"differences": list(self.differences)}


class CrowdedStageError(ConflictError):
    """Many versions must leave the stage first: name the one that is to enter it."""


class VerificationNeededError(ConflictError):
    """The artifact must be verified before that.

    Attributes:
        version: the version, with its digest.
    """

    def __init__(self, version: object) -> None:
        super().__init__()
        self.version = version


class WebhookLoopError(ConflictError):
    """This request comes of a webhook that comes of a webhook, and so on."""

    slug = "webhook-loop"


class StaleExpectationError(RegistryError):
    """The state has changed since the caller looked."""

    slug = "stale"


class CursorExpiredError(StaleExpectationError):
    """Events behind this cursor were removed."""

    slug = "cursor-expired"

    def __init__(self, message: str, *, oldest_cursor: str) -> None:
        super().__init__(message)
        self.oldest_cursor = oldest_cursor

    @property
    def facts(self) -> Mapping[str, object]:
        """The oldest cursor behind which nothing is missing."""
        return {"oldest_cursor": self.oldest_cursor}


class InvalidInputError(RegistryError):
    """A value breaks a rule."""

    slug = "invalid"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field

    @property
    def facts(self) -> Mapping[str, object]:
        """The field at fault, where one is."""
        return {"errors": {self.field: [self.message]}} if self.field else {}


class IdempotencyMismatchError(InvalidInputError):
    """This idempotency key was used with a different request."""

    slug = "idempotency-mismatch"


class NotSignedInError(RegistryError):
    """A valid token is required."""

    slug = "unauthenticated"


class NoCredentialError(NotSignedInError):
    """No credential came along."""

    def __init__(
        self, message: str = "sign in with 'Authorization: Bearer <token>'"
    ) -> None:
        super().__init__(message)


class PermissionDeniedError(RegistryError):
    """Your role does not allow this."""

    slug = "forbidden"


class SelfApprovalError(PermissionDeniedError):
    """Nobody approves what they asked for."""

    slug = "self-approval"

    def __init__(self, requester: str) -> None:
        super().__init__(
            f"{requester} asked for this: somebody else must approve it, and not by a "
            "credential that either of the two made"
        )


class CrossOriginError(PermissionDeniedError):
    """A browser sends this on behalf of another site, which may not change anything."""

    slug = "cross-origin"


class TooManyAttemptsError(RegistryError):
    """This source has failed too often."""

    slug = "too-many-attempts"

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(
            "too many failed attempts came from this address; "
            f"try again in {retry_after_seconds} s"
        )
        self.retry_after_seconds = retry_after_seconds


class ArtifactStoreError(RegistryError):
    """The artifact store did not answer as it should."""

    slug = "unavailable"


class ArtifactAccessDeniedError(ArtifactStoreError):
    """The credentials of the registry do not open this place."""


class TrackingServerError(ArtifactStoreError):
    """The tracking server did not answer as it should."""

    def __init__(self, message: str | None = None, *, is_temporary: bool) -> None:
        super().__init__(message)
        #: Whether it may answer when asked again: it is down, or has failed.
        self.is_temporary = is_temporary


class IdentityProviderError(RegistryError):
    """The identity provider did not answer as it should."""

    slug = "unavailable"


class BusyError(RegistryError):
    """Too much of this is under way already; try again."""

    slug = "busy"


class VerificationBusyError(BusyError):
    """The artifact is being verified for another request."""

    slug = "unavailable"  #: as programs have known it


class ServerUnreachableError(RegistryError):
    """The server does not answer."""

    slug = "unreachable"


class RequestClosedError(ConflictError):
    """A transition request that was waited for will not be carried out."""

    slug = "request-closed"


class WaitTimeoutError(RegistryError):
    """What was waited for did not happen in time."""

    slug = "wait-timeout"


class IntegrityViolationError(RegistryError):
    """Stored data contradicts itself."""


class ConfigurationError(RegistryError):
    """The configuration cannot be used."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))
