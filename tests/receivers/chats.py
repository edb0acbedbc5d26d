"""Slack's incoming webhooks and Teams' workflows.

Each is an ``answers`` function for ``tests.receiver.Receiver``. Sources: Slack,
"Sending messages using incoming webhooks", block kit reference; Microsoft, "Create
incoming webhooks with Workflows", Adaptive Cards 1.4.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from tests.receiver import Answer, ReceivedRequest

MAX_TEAMS_BYTES = 28 * 1024
#: bolt-js issue 2509.
MAX_BLOCKS_CHARACTERS = 13_200


@dataclass
class Slack:
    """A channel behind a secret path; ``trouble`` is answered to what is well made."""

    path: str
    trouble: Answer | None = None
    messages: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, request: ReceivedRequest) -> Answer:
        if request.path != self.path:
            return Answer(403, body=b"invalid_token")
        try:
            message = json.loads(request.body)
        except ValueError:
            return Answer(400, body=b"invalid_payload")
        if not message.get("text") or not all(map(_is_block, message["blocks"])):
            return Answer(400, body=b"invalid_blocks")
        if len(json.dumps(message["blocks"], ensure_ascii=False)) > (
            MAX_BLOCKS_CHARACTERS
        ):
            return Answer(400, body=b"msg_blocks_too_long")
        if self.trouble is not None:
            return self.trouble
        self.messages.append(message)
        return Answer(200, body=b"ok")


def _is_block(block: dict[str, Any]) -> bool:
    if block["type"] == "context":
        return 0 < len(block["elements"]) <= 10 and all(
            0 < len(element["text"]) <= 3000 for element in block["elements"]
        )
    fields = block.get("fields", [{"type": "plain_text", "text": "x"}])
    texts = [block["text"], *fields]
    return (
        block["type"] == "section"
        and 0 < len(fields) <= 10
        and 0 < len(block["text"]["text"]) <= 3000
        and all(0 < len(entry["text"]) <= 2000 for entry in fields)
        and all(entry["type"] in ("plain_text", "mrkdwn") for entry in texts)
    )


@dataclass
class Teams:
    """A workflow that starts when a Teams webhook request is received."""

    signature: str
    cards: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, request: ReceivedRequest) -> Answer:
        if not request.path.endswith(f"sig={self.signature}"):
            return Answer(401)
        if len(request.body) > MAX_TEAMS_BYTES:
            return Answer(413)
        document = json.loads(request.body)
        if document.get("type") != "message":
            return Answer(400)
        for attachment in document["attachments"]:
            if attachment["contentType"] != "application/vnd.microsoft.card.adaptive":
                return Answer(400)
            if attachment["content"]["type"] != "AdaptiveCard":
                return Answer(400)
            self.cards.append(attachment["content"])
        return Answer(202)
