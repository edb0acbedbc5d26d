"""The errors a caller of this package can meet, as one small tree.

    WebhooksError
    ├── InvalidSubscriptionError   a field of a subscription breaks a rule
    ├── TooManySubscriptionsError  there are as many as one event may be told to
    ├── UnknownSubscriptionError   no such subscription, or it was deleted
    ├── UnknownDeliveryError       no such delivery
    ├── DeliveryStateError         the delivery's state does not allow it
    ├── UnsealError                a stored secret cannot be decrypted
    ├── RenderError                a format cannot express the event
    │   └── OversizeError          it would be more than the receiver takes
    ├── UnsendableError            a request cannot be put together
    ├── BlockedAddressError        the host is not one webhooks may reach
    ├── UnreachableError           no connection could be made
    └── TLSMaterialError           a certificate or key is of no use to OpenSSL

Rules:

- A class docstring is its default message.
- Nothing here knows HTTP status codes: the API of the application decides.
"""


class WebhooksError(Exception):
    """The webhook operation failed."""

    def __init__(self, message: str | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        super().__init__(self.message)


class InvalidSubscriptionError(WebhooksError):
    """A value of the subscription breaks a rule."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class TooManySubscriptionsError(WebhooksError):
    """There are as many subscriptions as there may be."""


class UnknownSubscriptionError(WebhooksError):
    """There is no such subscription."""


class UnknownDeliveryError(WebhooksError):
    """There is no such delivery."""


class DeliveryStateError(WebhooksError):
    """The state of the delivery does not allow this."""


class UnsealError(WebhooksError):
    """The stored secret cannot be decrypted with the present keys."""


class RenderError(WebhooksError):
    """The format cannot express this event."""


class OversizeError(RenderError):
    """The receiver would not take so much."""

    def __init__(self, size: int, maximum: int, target: str) -> None:
        super().__init__(
            f"{size} bytes are more than the {maximum} that {target} takes"
        )
        self.maximum = maximum


class UnsendableError(WebhooksError):
    """The request cannot be put together."""


class BlockedAddressError(WebhooksError):
    """The host could not be resolved to an allowed address."""


class UnreachableError(WebhooksError):
    """No connection could be made."""


class TLSMaterialError(WebhooksError):
    """The certificate or key cannot be used."""
