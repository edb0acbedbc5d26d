"""Metrics of a worker, which serves nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from flask import Flask
from prometheus_client import start_http_server

from registry.api.metrics import registry_of


@contextmanager
def metrics_served(app: Flask, host: str, port: int | None) -> Iterator[None]:
    """Serve ``/metrics`` for as long as the block runs; without a port, nothing.

    Raises:
        click.ClickException: when the address cannot be listened on.
    """
    if port is None:
        yield
        return
    try:
        server, thread = start_http_server(port, addr=host, registry=registry_of(app))
    except OSError as error:
        raise click.ClickException(
            f"cannot serve metrics on {host}:{port}: {error.strerror}"
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
