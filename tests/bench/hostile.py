"""``python -m tests.bench hostile``: how long each hostile receiver holds a send."""

import os
import platform
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import click

from tests.hostile_receivers import (
    BODY,
    HOST,
    HOSTILITIES,
    NOW,
    Certificates,
    make_sender,
    send_to,
)
from tests.integration.webhooks.hostile import black_holes
from webhooks.sending.guard import AddressGuard
from webhooks.sending.sender import Sender, SendResult, Timeouts

ALLOWED_EXCESS_SECONDS = 0.5
STALL_SECONDS = 30.0
HOLES = [f"127.0.1.{number}" for number in range(1, 65)]

Run = Callable[[], SendResult]


@click.command()
@click.option(
    "--deadline",
    "deadline_seconds",
    default=Timeouts().total_seconds,
    show_default=True,
    help="The total deadline of a send, in seconds.",
)
def hostile(deadline_seconds: float) -> None:
    """Send to every hostile receiver at once; fail if one send takes too long."""
    timeouts = Timeouts(total_seconds=deadline_seconds)
    runs = _runs(timeouts)
    with ThreadPoolExecutor(len(runs)) as pool:
        results = list(pool.map(lambda named: named[1](), runs))
    for (name, _), result in zip(runs, results, strict=True):
        said = result.error or f"answered {result.status}"
        click.echo(f"{result.duration_seconds:7.3f} s  {name:34} {said}")
    longest = max(result.duration_seconds for result in results)
    limit = deadline_seconds + ALLOWED_EXCESS_SECONDS
    click.echo(
        f"longest {longest:.3f} s of {limit:.1f} s, {len(results)} receivers at once,"
        f" {os.cpu_count()} processors, Python {platform.python_version()}"
    )
    sys.exit(longest > limit)


def _runs(timeouts: Timeouts) -> Sequence[tuple[str, Run]]:
    sender, certificates = make_sender(timeouts), Certificates()
    runs: list[tuple[str, Run]] = [
        (case.name, partial(send_to, case, sender, certificates))
        for case in HOSTILITIES
    ]
    return [
        *runs,
        ("resolver stalls for 30 s", partial(_send_to_stalled_name, timeouts)),
        ("64 black-holed addresses", partial(_send_to_black_holes, timeouts)),
    ]


def _send_to_stalled_name(timeouts: Timeouts) -> SendResult:
    is_over = threading.Event()

    def stall(_host: str, _port: int) -> Sequence[str]:
        is_over.wait(STALL_SECONDS)
        return ["127.0.0.1"]

    sender = Sender(AddressGuard(resolver=stall), timeouts=timeouts)
    result = sender.send(f"https://{HOST}/", BODY, {}, now=NOW)
    is_over.set()
    return result


def _send_to_black_holes(timeouts: Timeouts) -> SendResult:
    guard = AddressGuard(
        ["127.0.0.0/8"], allow_http=True, resolver=lambda _host, _port: HOLES
    )
    with black_holes(HOLES) as port:
        return Sender(guard, timeouts=timeouts).send(
            f"http://{HOST}:{port}/", BODY, {}, now=NOW
        )
