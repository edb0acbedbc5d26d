"""Ratios as a picture: a panel a database, one bar an operation, its spread over it."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a test imports the benchmarks, and draws nothing
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Point:
    """An operation and its ratios, one a round."""

    name: str
    ratios: Sequence[float]


def draw(file: Path, machine: str, panels: Mapping[str, Sequence[Point]]) -> None:
    """Write an SVG or PNG file; what lies right of 1 is ahead."""
    from matplotlib.figure import Figure  # as above

    lengths = [len(points) for points in panels.values()]
    figure = Figure(figsize=(9, 1.2 + sum(1.0 + 0.28 * each for each in lengths)))
    figure.set_layout_engine("constrained")
    rows = figure.subplots(
        len(panels), squeeze=False, gridspec_kw={"height_ratios": lengths}
    )
    for (axes,), (title, points) in zip(rows, panels.items(), strict=True):
        _draw_bars(axes, points)
        axes.set(title=title, xlabel="times as many requests a second")
    figure.supxlabel(machine, fontsize="small")
    figure.savefig(file)


def _draw_bars(axes: "Axes", points: Sequence[Point]) -> None:
    medians = [statistics.median(point.ratios) for point in points]
    both = list(zip(points, medians, strict=True))
    below = [middle - min(point.ratios) for point, middle in both]
    above = [max(point.ratios) - middle for point, middle in both]
    names = [point.name for point in points]
    bars = axes.barh(names, medians, xerr=[below, above], capsize=2)
    axes.bar_label(bars, fmt="%.1f", padding=12)
    axes.margins(x=0.1)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.invert_yaxis()
