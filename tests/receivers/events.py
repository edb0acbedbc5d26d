"""Argo Events, Tekton, and any CloudEvents receiver.

Each is an ``answers`` function for ``tests.receiver.Receiver``. Sources: argo-events
(webhook event source), tektoncd/triggers (EventListener, ``github`` interceptor),
CloudEvents 1.0.2 read by the ``cloudevents`` library.
"""

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import Any

from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.http import HTTPMessage, from_http
from cloudevents.core.exceptions import CloudEventValidationError
from cloudevents.core.formats.json import JSONFormat

from tests.receiver import Answer, ReceivedRequest

MAX_ARGO_BYTES = 1024 * 1024


@dataclass
class ArgoEvents:
    """A webhook event source with an ``authSecret``."""

    secret: str
    dispatched: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, request: ReceivedRequest) -> Answer:
        if request.headers.get("authorization") != f"Bearer {self.secret}":
            return Answer(401, body=b"Invalid Auth token")
        if len(request.body) > MAX_ARGO_BYTES:
            return Answer(413)
        try:
            body = json.loads(request.body)
        except ValueError:
            return Answer(400)
        self.dispatched.append({"header": request.headers, "body": body})
        return Answer(200, body=b"success")


@dataclass
class TektonListener:
    """An event listener whose one trigger has the ``github`` interceptor."""

    secret: str
    triggered: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, request: ReceivedRequest) -> Answer:
        try:
            body = json.loads(request.body)
        except ValueError:
            return Answer(400)
        digest = hmac.new(self.secret.encode(), request.body, hashlib.sha256)
        expected = "sha256=" + digest.hexdigest()
        given = request.headers.get("x-hub-signature-256", "")
        # 202 whether or not a trigger fires.
        if hmac.compare_digest(expected, given):
            self.triggered.append(body)
        answer = {"eventListener": "stagegate", "namespace": "ci", "eventID": "e-17"}
        return Answer(
            202, {"Content-Type": "application/json"}, json.dumps(answer).encode()
        )


@dataclass
class CloudEventsReceiver:
    """Takes what the library can read."""

    events: list[BaseCloudEvent] = field(default_factory=list)

    def __call__(self, request: ReceivedRequest) -> Answer:
        message = HTTPMessage(dict(request.headers), request.body)
        try:
            self.events.append(from_http(message, JSONFormat()))
        except (CloudEventValidationError, ValueError, KeyError):
            return Answer(400)
        return Answer(204)
