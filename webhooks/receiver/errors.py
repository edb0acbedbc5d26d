"""Why a request is not accepted.

ReceiverError
├── SignatureError    not signed with a known secret
├── TooOldError       signed too long ago
├── MalformedError    signed, but no event
└── BusyError         its model is being worked on
"""


class ReceiverError(Exception):
    """The request is not accepted; ``status`` is the HTTP status to answer."""

    status = 400

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class SignatureError(ReceiverError):
    """No signature of the request was made with a known secret."""

    status = 401


class TooOldError(ReceiverError):
    """The request was signed too long ago, or by a clock that is too far ahead."""


class MalformedError(ReceiverError):
    """The body is signed, but it is no event in the standard format."""


class BusyError(ReceiverError):
    """This message, or another of its model, is being worked on."""

    status = 503
