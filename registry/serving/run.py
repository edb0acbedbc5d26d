"""Serve the registry over HTTP: uvicorn, our bounds on clients, and the bridge.

Rules:

- One process by default, which the embedded database wants. Several, with PostgreSQL,
  are uvicorn's: each builds an application of its own from the environment.
- Whoever ends the server is waited for: requests first, then what is being delivered.
- ``SCRIPT_NAME`` in the environment is the path that a proxy leaves in requests, as for
  other servers of WSGI applications.
- A proxy of ``FORWARDED_ALLOW_IPS`` is believed about scheme and client (uvicorn's own
  setting; 127.0.0.1 and ::1 by default), and about nothing else.
"""

import os
import signal
import socket

import uvicorn
from flask import Flask
from uvicorn.supervisors import Multiprocess

from registry.app import create_app
from registry.first_start import with_secret_key
from registry.logs import configure_logging
from registry.serving.bridge import Bridge
from registry.serving.connection import IDLE_SECONDS, Connection, allow_many_files
from registry.settings import Settings
from registry.web.parts import Parts
from registry.worker import BackgroundWork

_BACKLOG = 2048
_OF_ENVIRONMENT = "registry.serving.run:application"


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 is one that is free.

    Raises:
        OSError: when the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)


def serve(app: Flask, listener: socket.socket, *, processes: int, grace: int) -> None:
    """Serve until SIGTERM or SIGINT, then let what is under way end.

    Args:
        app: the application of this process; further processes build their own.
        listener: where to serve; closed at the end.
        processes: how many serve.
        grace: the seconds that requests have to end.
    """
    allow_many_files()
    if processes > 1:
        config = server_config(_OF_ENVIRONMENT, processes=processes, grace=grace)
        Multiprocess(config, sockets=[listener]).run()
        return
    # uvicorn raises the signal again that ended it, which has had its effect.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    config = server_config(bridged(app), processes=1, grace=grace)
    uvicorn.Server(config).run(sockets=[listener])


def server_config(app: Bridge | str, *, processes: int, grace: int) -> uvicorn.Config:
    """How uvicorn serves the application, or what its import path makes."""
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        workers=processes,
        http=Connection,
        loop="uvloop",
        ws="none",
        interface="asgi3",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=grace,
    )


def application() -> Bridge:
    """The application of one of several processes.

    Raises:
        ConfigurationError: when the settings cannot be used.
    """
    settings = with_secret_key(Settings.from_env(os.environ))
    configure_logging(settings.log_level)
    return bridged(create_app(settings))


def bridged(app: Flask) -> Bridge:
    """The application as uvicorn runs it, with what runs beside requests."""
    parts: Parts = app.extensions["stagegate"]
    if not parts.settings.deliver:
        return Bridge(app, below=_below(), start=_nothing, stop=_nothing)
    work = BackgroundWork(app)
    return Bridge(app, below=_below(), start=work.start, stop=work.stop)


def _below() -> str:
    path = os.environ.get("SCRIPT_NAME", "").strip("/")
    return f"/{path}" if path else ""


def _nothing() -> None:
    pass
