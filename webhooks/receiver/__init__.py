"""For consumers: verify a webhook, and act on each event once and in order.

    receiver = Receiver(os.environ["WEBHOOK_SECRET"], store=SQLiteStore("seen.db"))

    with receiver.receive(request.headers, request.get_data()) as message:
        if message.is_new:
            deploy(message.data)
    # Answer 2xx here, and only here.

Rules:

- The standard library is enough, and nothing else of this package is needed: the
  folder may be copied into a consumer, which is why its imports are relative.
  Ed25519 keys (``whpk_``) need ``cryptography``.
- What is not signed, or signed too long ago, raises. A duplicate and an event
  that a later one of its model has overtaken do not: they want a 2xx as well.
- A message is remembered by ``done()``, or by leaving the ``with`` block without an
  error, never before. Whatever fails before is sent again and is new again.
- While one message of a model is worked on, a second is a ``BusyError``: answer
  its status, and the sender comes again.
- Order is that of (timestamp, sequence). In the life of a model it is that of
  the sequence, which starts anew when a model is made under an old name.
- A replay is outside the order: it is told as one, and never held for overtaken.
- One store serves one subscription, for any number of threads and, as a file, of
  processes.

Source: Standard Webhooks 1.0, "Verifying webhook authenticity".
"""

from .messages import Message, Receiver
from .stores import (
    BusyError,
    MalformedError,
    MemoryStore,
    ReceiverError,
    SignatureError,
    SQLiteStore,
    Standing,
    Store,
    Ticket,
    TooOldError,
)

__all__ = [
    "BusyError",
    "MalformedError",
    "MemoryStore",
    "Message",
    "Receiver",
    "ReceiverError",
    "SQLiteStore",
    "SignatureError",
    "Standing",
    "Store",
    "Ticket",
    "TooOldError",
]
