"""Figures and the machine they were taken on."""

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import click


def describe_machine() -> str:
    """Name what the figures depend on, the other work on the machine included."""
    processor = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            processor = line.partition(":")[2].strip()
            break
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{processor}, {os.cpu_count()} processors, Python"
        f" {platform.python_version()}, load {load}"
    )


def percentile(values: Sequence[float], share: float) -> float:
    """Give the smallest value that ``share`` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def describe_seconds(values: Sequence[float]) -> str:
    """Say how a number of waits spread, in milliseconds."""
    p50, p95, p99 = (percentile(values, share) * 1000 for share in (0.5, 0.95, 0.99))
    return (
        f"n={len(values)} p50={p50:.1f} ms p95={p95:.1f} ms p99={p99:.1f} ms"
        f" max={max(values) * 1000:.1f} ms"
    )


def describe_spread(values: Sequence[float], unit: str) -> str:
    """Say the median of several runs and how far they lie apart."""
    return (
        f"median {statistics.median(values):.0f} {unit}"
        f" ({min(values):.0f} to {max(values):.0f}, {len(values)} runs)"
    )


def describe_ratios(ratios: Sequence[float]) -> str:
    """Say the median of several ratios and the extremes."""
    if not ratios:
        return ""
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


class Table:
    """A table in Markdown that is printed row by row, as its figures are found.

    Args:
        columns: their names and widths.
    """

    def __init__(self, columns: Mapping[str, int]) -> None:
        self._widths = list(columns.values())
        self.add(*columns)
        self.add(*("-" * width for width in self._widths))

    def add(self, *cells: str) -> None:
        padded = map(str.ljust, cells, self._widths)
        click.echo(f"| {' | '.join(padded)} |")
