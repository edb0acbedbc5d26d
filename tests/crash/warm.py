"""What the fork server does once, so that every target starts warm.

It builds the application that the targets are, and changes and delivers something
with it: that fills the caches of routing, schemas, mappers and statements. It leaves
no connection. Its environment names a database like those of the runs.
"""

import gc
import os

from flask import Flask

from registry.web.parts import Parts
from tests.crash import target
from tests.crash.databases import MODELS, environment_of
from tests.integration.conftest import close_app, signed_in


def _change_and_deliver(app: Flask) -> None:
    client, model = signed_in(app), f"/api/v1/models/{MODELS[0]}"
    source = client.get(f"{model}/versions/1").get_json()["source"]
    for number, (path, body) in enumerate(
        (
            ("versions", {"source": source}),
            ("versions/3/transitions", {"to_stage": "Production"}),
            ("rollback", {}),
        )
    ):
        key = {"Idempotency-Key": f"warm-{number}"}
        answer = client.post(f"{model}/{path}", json=body, headers=key)
        if answer.status_code >= 300:
            raise RuntimeError(answer.text)
    parts: Parts = app.extensions["stagegate"]
    parts.dispatcher.run_once()


_app = target.application(environment_of(os.environ))
_change_and_deliver(_app)
close_app(_app)
# What is never looked at is never copied.
gc.collect()
gc.freeze()

run = target.run
