"""What nothing of ours could be faster than, on the machine at hand.

- A Flask route that answers one small document, under the server program that serves
  the registry: ``python -m tests.bench.limits PORT PROCESSES``.
- The bare statements of a promotion, sent by ``pgbench``.
"""

import math
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import requests
import uvicorn
from flask import Flask, Response, jsonify
from uvicorn.supervisors import Multiprocess

from registry.serving.bridge import Bridge
from registry.serving.run import listen, server_config
from tests.bench.databases import plain_url, postgresql_programs
from tests.bench.load import PATIENCE_SECONDS, ROOT
from tests.bench.operations import TRIVIAL
from tests.bench.turns import Load, cpu_seconds
from tests.services.postgres import PostgresServer
from tests.services.processes import free_port, stop, wait_until_ready

_TABLES = """
CREATE TABLE tokens (digest text PRIMARY KEY, role text);
CREATE TABLE models (id int PRIMARY KEY, n int, hash text);
CREATE TABLE versions (id int PRIMARY KEY, model int, stage text);
CREATE INDEX ON versions (model, stage);
CREATE TABLE history (id bigserial PRIMARY KEY, model int, stage text, at timestamptz);
CREATE TABLE entries (id bigserial PRIMARY KEY, model int, n int, text text);
CREATE TABLE events (id bigserial PRIMARY KEY, model int, data text);
CREATE TABLE webhooks (id int PRIMARY KEY, url text);
INSERT INTO tokens SELECT md5(n::text), 'promoter' FROM generate_series(1, 10) n;
INSERT INTO models SELECT n, 0, '' FROM generate_series(1, 1000) n;
INSERT INTO versions
  SELECT n, n / 5 + 1, CASE WHEN n % 5 = 0 THEN 'Production' ELSE 'None' END
  FROM generate_series(0, 4994) n;
"""
#: As a promotion over an incumbent issues them: ten, sign-in included.
_PROMOTION = r"""
\set model random(1, 999)
SELECT role FROM tokens WHERE digest = md5('7');
BEGIN;
SELECT n, hash FROM models WHERE id = :model FOR UPDATE;
SELECT id, stage FROM versions WHERE id = :model * 5 - 4;
SELECT id, stage FROM versions WHERE model = :model AND stage = 'Production' LIMIT 102;
UPDATE models SET n = n + 1, hash = repeat('0', 64) WHERE id = :model;
UPDATE versions SET stage = stage WHERE id IN (:model * 5 - 4, :model * 5 - 5);
INSERT INTO history (model, stage, at)
  VALUES (:model, 'Archived', now()), (:model, 'Production', now());
INSERT INTO entries (model, n, text) VALUES (:model, 1, repeat('x', 900));
SELECT id, url FROM webhooks FOR KEY SHARE;
INSERT INTO events (model, data)
  VALUES (:model, repeat('x', 600)), (:model, repeat('x', 600));
COMMIT;
"""


def application() -> Bridge:
    """The trivial application, as the registry's own is served."""
    app = Flask(__name__)

    @app.get(ROOT + TRIVIAL)
    def trivial() -> Response:
        return jsonify({"name": TRIVIAL})

    return Bridge(app, start=_nothing, stop=_nothing)


@contextmanager
def flask_route(processes: int) -> Iterator[tuple[int, int]]:
    """The trivial route in so many processes: its port, and their session's id."""
    port = free_port()
    with tempfile.NamedTemporaryFile(prefix="stagegate-bench-") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.limits", str(port), str(processes)],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_until_ready(
                process, lambda: _is_answering(port), log_file=Path(log.name)
            )
            yield port, process.pid
        finally:
            stop(process)


def bare_promotions(server: PostgresServer, load: Load) -> Iterator[str]:
    """Drive PostgreSQL alone; give the cells of its row."""
    program = postgresql_programs().directory / "pgbench"
    if not program.exists():
        yield "no pgbench"
        return
    with server.fresh_database() as url:
        with psycopg.connect(plain_url(url)) as connection:
            connection.execute(_TABLES.encode())
        before = cpu_seconds(server.process.pid)
        said = subprocess.run(
            [
                *(program, "--no-vacuum", "--protocol=prepared", "--file=/dev/stdin"),
                *(f"--client={load.clients}", f"--time={math.ceil(load.seconds)}"),
                plain_url(url),
            ],
            input=_PROMOTION,
            capture_output=True,
            text=True,
            check=True,
            timeout=load.seconds + PATIENCE_SECONDS,
        ).stdout
        used = cpu_seconds(server.process.pid) - before
    count = _figure("number of transactions actually processed:", said)
    yield f"{_figure('tps =', said):.0f}"
    yield ""
    yield f"mean {_figure('latency average =', said):.1f}"
    yield from ("", "")
    yield f"+ {1000 * used / count:.2f}"


def _figure(name: str, said: str) -> float:
    found = re.search(rf"{name} ([\d.]+)", said)
    assert found, said
    return float(found.group(1))


def _is_answering(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}{ROOT}{TRIVIAL}", timeout=2).ok
    except requests.RequestException:
        return False


def _nothing() -> None:
    pass


def _serve(port: int, processes: int) -> None:
    listener = listen("127.0.0.1", port)
    if processes > 1:
        path = "tests.bench.limits:application"
        config = server_config(path, processes=processes, grace=5)
        Multiprocess(config, sockets=[listener]).run()
        return
    uvicorn.Server(server_config(application(), processes=1, grace=5)).run([listener])


if __name__ == "__main__":
    _serve(*map(int, sys.argv[1:]))
