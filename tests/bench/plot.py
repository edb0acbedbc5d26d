"""Ratios as a picture: one bar an operation, its spread over it."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Point:
    """An operation and its ratios, one a round."""

    name: str
    ratios: Sequence[float]


def draw(file: Path, title: str, machine: str, points: Sequence[Point]) -> None:
    """Write an SVG file; what lies right of 1 is ahead."""
    figure = Figure(figsize=(8, 1.5 + 0.28 * len(points)), layout="constrained")
    axes = figure.subplots()
    medians = [statistics.median(point.ratios) for point in points]
    spread = [
        [
            middle - min(point.ratios)
            for middle, point in zip(medians, points, strict=True)
        ],
        [
            max(point.ratios) - middle
            for middle, point in zip(medians, points, strict=True)
        ],
    ]
    bars = axes.barh([point.name for point in points], medians, xerr=spread, capsize=2)
    axes.bar_label(bars, fmt="%.1f", padding=12)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.invert_yaxis()
    axes.set(title=title, xlabel=f"times as many requests a second\n{machine}")
    figure.savefig(file, format="svg")
