"""The picture of a run: CPU time a request, user and system, beside the peers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.model import OURS, Kind, Summary, Work

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

COLUMNS = 3
USER, SYSTEM, IDLE = "#2f6f9f", "#a9c8dd", "#6a8f5f"


def draw_cpu(axes: Axes, work: Work, rows: list[Summary]) -> None:
    """Stacked bars, user and system, cheapest at the top; whiskers from the least to the most of the rounds."""
    scale, unit = (1000, "ms") if work.kind is Kind.DOWNLOAD else (1, "µs")
    rows = sorted(rows, key=lambda row: -row.cpu_us)
    names = [row.server for row in rows]
    user = [row.user_us / scale for row in rows]
    system = [row.system_us / scale for row in rows]
    low = [max(0.0, (row.cpu_us - row.cpu_low) / scale) for row in rows]
    high = [max(0.0, (row.cpu_high - row.cpu_us) / scale) for row in rows]
    axes.barh(names, user, color=USER)
    axes.barh(names, system, left=user, xerr=[low, high], color=SYSTEM, capsize=2)
    label_bars(axes, names, [row.cpu_us / scale for row in rows])
    axes.set_xlabel(f"CPU {unit} a request")


def draw_idle(axes: Axes, rows: list[Summary]) -> None:
    rows = sorted(rows, key=lambda row: -row.idle_kib)
    names = [row.server for row in rows]
    axes.barh(names, [row.idle_kib for row in rows], color=IDLE)
    label_bars(axes, names, [row.idle_kib for row in rows])
    axes.set_xlabel("KiB a connection")


def number(value: float) -> str:
    """Three digits that count, and no exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def label_bars(axes: Axes, names: list[str], values: list[float]) -> None:
    top = max([*values, 0.001])
    for place, value in enumerate(values):
        axes.text(value + top * 0.04, place, number(value), va="center", fontsize=7)
    axes.set_xlim(0, top * 1.25)
    for tick, name in zip(axes.get_yticklabels(), names, strict=False):
        tick.set_fontweight("bold" if name == OURS else "normal")


def draw(works: tuple[Work, ...], summaries: list[Summary], caption: str, path: Path) -> None:
    """Writes the picture (SVG or PNG by the path's suffix): a small chart for every work that has results."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams |= {"svg.hashsalt": "switchyard", "svg.fonttype": "none"}
    from matplotlib import pyplot

    shown = [(work, rows) for work in works if (rows := [s for s in summaries if s.work == work.name])]
    lines = max(1, -(-len(shown) // COLUMNS))
    figure, grid = pyplot.subplots(lines, COLUMNS, figsize=(12, 0.7 + 2.1 * lines), squeeze=False, layout="constrained")
    for axes in grid.flat[len(shown) :]:
        axes.axis("off")
    for axes, (work, rows) in zip(grid.flat, shown, strict=False):
        axes.set_title(work.title, fontsize=9)
        axes.tick_params(labelsize=8)
        draw_idle(axes, rows) if work.kind is Kind.IDLE else draw_cpu(axes, work, rows)
        axes.xaxis.label.set_size(7)
        axes.spines[["top", "right"]].set_visible(False)
    handles = [mpl.patches.Patch(color=USER, label="user"), mpl.patches.Patch(color=SYSTEM, label="system")]
    figure.legend(handles=handles, fontsize=8, frameon=False, loc="outside lower right", ncols=2)
    figure.suptitle(caption, fontsize=9)
    figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)
