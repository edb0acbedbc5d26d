"""Deploys what reaches Production: verify, act once, report back.

The version that serves is ``$MODELS_DIR/<model>/current``. While a download takes
longer than the sender waits, its next attempts are answered 503; then, 204.
"""

import os
from pathlib import Path

from flask import Flask, request

from registry.client import RegistryClient
from webhooks.receiver import Message, Receiver, ReceiverError, SQLiteStore

URL, TOKEN = os.environ["STAGEGATE_URL"], os.environ["STAGEGATE_TOKEN"]
MODELS = Path(os.environ["MODELS_DIR"])
SECRETS = os.environ["WEBHOOK_SECRET"].split()  # new and old, while it is rotated
receiver = Receiver(SECRETS, store=SQLiteStore(MODELS / "received.db"))
app = Flask(__name__)


@app.post("/hook")
def take() -> tuple[str, int]:
    """Answer 2xx once the event is dealt with, and only then."""
    with receiver.receive(request.headers, request.get_data()) as message:
        if message.is_new and message.data.get("to_stage") == "Production":
            deploy(message, message.data["model"], message.data["version"])
    return "", 204


app.register_error_handler(ReceiverError, lambda error: (str(error), error.status))


def deploy(message: Message, model: str, version: int) -> None:
    """Fetch the artifact, check it against its digests, and switch over to it."""
    with RegistryClient(URL, TOKEN) as registry:
        # What was sent again may be history by now: the registry has the last word.
        if registry.get_version(model, version).stage != "Production":
            return
        report(message, "in_progress")
        try:
            registry.download(model, version, MODELS / model / str(version))
            (MODELS / model / "next").unlink(missing_ok=True)
            (MODELS / model / "next").symlink_to(str(version))
            (MODELS / model / "next").replace(MODELS / model / "current")
        except Exception:
            report(message, "failed")
            raise  # answered 500, so that it is sent again
    report(message, "succeeded")


def report(message: Message, status: str) -> None:
    """Tell the registry, with the token that the delivery brought along."""
    # At our own URL: where an event says the registry is, the token does not go.
    model, version = message.data["model"], message.data["version"]
    with RegistryClient(URL, message.deployment_token) as registry:
        registry.deployments.report(model, version, status, environment="production")
