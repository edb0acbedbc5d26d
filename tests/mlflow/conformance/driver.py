"""Run every case against one server. Runs inside MLflow's environment.

``python -m tests.mlflow.conformance.driver --url … --report FILE`` reads its
credentials from MLflow's own variables and writes what came of each case: a JSON
object from identity to ``{"error", "exchanges"}``; ``error`` is null when all was
as expected. The server at ``--delivering-url`` has the same database, and may reach
the driver's own receiver.
"""

import argparse
import dataclasses
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import mlflow  # type: ignore[import-not-found]
import requests
from mlflow.exceptions import MlflowException  # type: ignore[import-not-found]

from tests.mlflow.conformance.cases import Case
from tests.mlflow.conformance.catalogue import cases_with
from tests.mlflow.conformance.receiving import Endpoint, listening
from tests.mlflow.conformance.world import Exchange, World, is_sent_again

SHOWN_EXCHANGES = 6
SHOWN_CHARACTERS = 400


def main() -> int:
    options = _options()
    mlflow.set_tracking_uri(options.url)
    mlflow.set_registry_uri(options.url)
    chosen = cases_with(options.only or ())
    with listening(options.receiver_port) as endpoint:
        world = _world(options, endpoint)
        delivering = dataclasses.replace(
            world,
            url=options.delivering_url,
            client=mlflow.MlflowClient(options.delivering_url, options.delivering_url),
        )
        _watch(world)
        results = {
            case.identity: _run(case, delivering if case.delivers else world)
            for case in chosen
        }
    options.report.write_text(json.dumps(results, indent=1), encoding="utf-8")
    return 0


def _world(options: argparse.Namespace, endpoint: Endpoint) -> World:
    return World(
        url=options.url,
        token=os.environ.get("MLFLOW_TRACKING_TOKEN", ""),
        is_mlflow=options.server == "mlflow",
        is_strict=options.policy == "strict",
        client=mlflow.MlflowClient(),
        errors=MlflowException,
        module=mlflow,
        endpoint=endpoint,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--delivering-url", required=True)
    parser.add_argument("--receiver-port", type=int, required=True)
    parser.add_argument("--server", choices=["mlflow", "stagegate"], required=True)
    parser.add_argument("--policy", choices=["strict", "open"], required=True)
    parser.add_argument("--only", nargs="*", help="texts in the names of the cases")
    parser.add_argument("--report", type=Path, required=True)
    return parser.parse_args()


def _watch(world: World) -> None:
    """Note every request of this process; nothing about it is changed."""
    send = requests.adapters.HTTPAdapter.send

    def noting(
        adapter: requests.adapters.HTTPAdapter,
        request: requests.PreparedRequest,
        *arguments: Any,  # noqa: ANN401  # handed on as they are
        **options: Any,  # noqa: ANN401
    ) -> requests.Response:
        answer = send(adapter, request, *arguments, **options)
        parts = urlsplit(request.url or "")
        world.exchanges.append(
            Exchange(
                method=str(request.method),
                path=str(parts.path),
                query=str(parts.query),
                body=_text(request.body),
                status=answer.status_code,
                answer=answer.text[:SHOWN_CHARACTERS],
            )
        )
        return answer

    requests.adapters.HTTPAdapter.send = noting  # type: ignore[assignment,method-assign]


def _text(body: object) -> str:
    raw = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    return str(raw or "")


def _run(case: Case, world: World) -> dict[str, Any]:
    del world.exchanges[:]
    error = None
    try:
        case.function(world, *case.arguments)
        _check_no_failure(case, world)
    except Exception:  # noqa: BLE001  # whatever it is, it is the case's result
        error = traceback.format_exc(limit=-4)
    shown = world.exchanges[-SHOWN_EXCHANGES:]
    return {"error": error, "exchanges": [_line(exchange) for exchange in shown]}


def _check_no_failure(case: Case, world: World) -> None:
    """The client must send no request again, unless MLflow's own is known to fail."""
    if case.stricter and world.is_mlflow:
        return
    for exchange in world.exchanges:
        assert not is_sent_again(exchange.status), _line(exchange)


def _line(exchange: Exchange) -> str:
    body = exchange.body[:SHOWN_CHARACTERS]
    query = f"?{exchange.query}" if exchange.query else ""
    request = f"{exchange.method} {exchange.path}{query} {body}".strip()
    return f"{request} -> {exchange.status} {exchange.answer}"


if __name__ == "__main__":
    sys.exit(main())
