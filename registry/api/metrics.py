"""What Prometheus reads: the requests of this process, and the state of all.

Rules:

- Requests are counted by the route's template, never by the path: what clients
  make up does not become a label, and no name of a model either.
- Counters and histograms are this process' own; with several web processes behind
  one address a scrape meets one of them.
"""

import time

from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry, Counter, Histogram

from registry.persistence.database import db, session_factory
from registry.services.state_metrics import metrics_registry

REQUESTS = Counter(
    "stagegate_http_requests",
    "Requests, by the template of their route",
    ["method", "route", "status"],
)
REQUEST_SECONDS = Histogram(
    "stagegate_http_request_seconds",
    "How long requests took until their answer began",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)

_EXTENSION = "stagegate_metrics"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NO_ROUTE = "none"


def measure(app: Flask) -> None:
    """Count every request of the application; call it before what may refuse one."""
    with app.app_context():
        sessions = session_factory(db.engine)
    app.extensions[_EXTENSION] = metrics_registry(sessions)
    app.before_request(_begin)
    app.after_request(_end)


def registry_of(app: Flask) -> CollectorRegistry:
    """Everything that there is to read of this application."""
    metrics: CollectorRegistry = app.extensions[_EXTENSION]
    return metrics


def _begin() -> None:
    g.began_at = time.perf_counter()


def _end(answer: Response) -> Response:
    route = request.url_rule.rule if request.url_rule else _NO_ROUTE
    method = request.method if request.method in _METHODS else "other"
    REQUESTS.labels(method, route, str(answer.status_code)).inc()
    began_at = g.get("began_at")
    if began_at is not None:
        seconds = time.perf_counter() - began_at
        REQUEST_SECONDS.labels(method, route).observe(seconds)
    return answer
