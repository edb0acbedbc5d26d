"""Benchmarks: ``python -m tests.bench --help``. They print figures and judge none."""

import signal
import sys

import click

from tests.bench import (
    compared,
    delivery,
    files,
    hostile,
    order,
    pages,
    promotion,
    scale,
    search,
    sizes,
    stalling,
    start,
    web,
)


@click.group(help=__doc__)
def main() -> None:
    """Hold the benchmarks together."""
    # What a bench has started ends with it, where it is asked to end before its time.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


for _command in (
    compared.compare,
    delivery.latency,
    delivery.throughput,
    delivery.dead_endpoint,
    files.files,
    hostile.hostile,
    order.order,
    pages.pages,
    promotion.promotion,
    scale.backlog,
    scale.fleet,
    search.search,
    sizes.sizes,
    stalling.stalled_clients,
    start.start,
    web.web,
):
    main.add_command(_command)

if __name__ == "__main__":
    main()
