"""Benchmarks: ``python -m tests.bench --help``. They print figures and judge none."""

import click

from tests.bench import delivery, hostile, order, search


@click.group(help=__doc__)
def main() -> None:
    """Hold the benchmarks together."""


for _command in (delivery.latency, delivery.throughput, delivery.dead_endpoint):
    main.add_command(_command)
main.add_command(hostile.hostile)
main.add_command(search.search)
main.add_command(order.order)

if __name__ == "__main__":
    main()
