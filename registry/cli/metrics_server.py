"""Metrics of a worker and whether it lives; it serves nothing else."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import click
from flask import Flask
from prometheus_client import make_wsgi_app, start_http_server

from registry.api.metrics import registry_of
from registry.web.parts import Parts
from registry.web.readiness import Readiness


@contextmanager
def metrics_served(app: Flask, host: str, port: int | None) -> Iterator[None]:
    """Serve ``/metrics`` and ``/healthz`` while the block runs; no port, no server.

    Raises:
        click.ClickException: when the address cannot be listened on.
    """
    if port is None:
        yield
        return
    try:
        server, thread = start_http_server(port, addr=host)
    except OSError as error:
        raise click.ClickException(
            f"cannot serve metrics on {host}:{port}: {error.strerror}"
        ) from error
    parts: Parts = app.extensions["stagegate"]
    server.set_app(_with_pulse(parts.readiness, make_wsgi_app(registry_of(app))))
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _with_pulse(readiness: Readiness, metrics: WSGIApplication) -> WSGIApplication:
    """Metrics everywhere but at ``/healthz``, which asks the heartbeats alone."""

    def answer(
        environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/healthz":
            return metrics(environ, start_response)
        problem = readiness.background_problem()
        status = "503 Service Unavailable" if problem else "200 OK"
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps({"status": problem or "ok"}).encode()]

    return answer
