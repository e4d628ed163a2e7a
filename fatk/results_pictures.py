"""Pictures of results: confusions, classes, learning curves, from what is kept."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from fatk.kept import Kept
from fatk.results_figures import Figures, figures, own_scores
from fatk.results_tables import DOCS, Entry, Results, picture
from fatk.show_pictures import matrix, shortened
from fatk.show_themes import THEMES
from models.ranking import per_class_lwlrap

_SETS = {"esc10": "ESC-10", "fat10": "fat10"}
_CURVES = (("loss", "training loss"), ("val_lwlrap", "lwlrap, held-out clips"))


def draw(results: Results) -> list[Path]:
    """Draw every picture that the pages name -> their files."""
    made = []
    for entry in results.entries:
        if entry.figures is None or not entry.pictures:
            continue
        kind, paint = ("confusion", confusion) if entry.table == "esc10" else ("classes", classes)
        made += [_save(results, entry, kind, paint), _save(results, entry, "curves", curves)]
    return made


def _save(results: Results, entry: Entry, kind: str, paint: Callable[[Kept, str], Figure]) -> Path:
    path = results.place / DOCS / picture(entry.name, kind)
    with matplotlib.rc_context(THEMES["light"]):  # some of them are read only when a figure is saved
        figure = paint(entry.kept, f"{_SETS[entry.table]}, {entry.what}")
        figure.savefig(path, format="png", metadata={"Software": None})
    return path


def counts(found: Figures) -> np.ndarray:
    """-> (classes, classes) clips: true class down, top class of the seeds' mean prediction across."""
    size = found.mean.truth.shape[1]
    table = np.zeros((size, size), int)
    np.add.at(table, (found.mean.truth.argmax(1), found.mean.chances.argmax(1)), 1)
    return table


def _runs(seeds: int) -> str:
    return "one seed" if seeds == 1 else f"mean of {seeds} seeds"


def confusion(kept: Kept, what: str) -> Figure:
    """True classes down, predicted ones across; a cell's number is clips."""
    found = figures(kept)
    table = counts(found)
    share = table / np.maximum(table.sum(1, keepdims=True), 1)
    texts = np.where(table > 0, table.astype(str), "")
    right = int(table.trace())
    title = f"{what}: {right} of {len(found.mean.names)} held-out clips right, {_runs(len(found.seeds))}"
    figure = matrix(share, kept.classes, kept.classes, title, "share of the true class", texts)
    figure.axes[0].set_ylabel("true class")
    figure.axes[0].set_xlabel("likeliest class")
    return figure


def classes(kept: Kept, what: str) -> Figure:
    """lwlrap of each class, best first: of the seeds' mean prediction, and of each seed."""
    found = figures(kept)
    value, _ = per_class_lwlrap(found.mean.truth, found.mean.chances)
    order = np.argsort(-np.nan_to_num(value, nan=-1), kind="stable")
    figure = Figure(figsize=(5, 1.0 + 0.24 * len(order)), layout="constrained")
    figure.suptitle(what)
    axis = figure.subplots()
    lowest = [float(np.nanmin(value))]
    for number, seed in enumerate(found.seeds):
        runs = [own_scores(run) for run in kept.of(seed)]
        own, _ = per_class_lwlrap(
            np.concatenate([scores.truth for scores in runs]),
            np.concatenate([scores.chances for scores in runs]),
        )
        lowest.append(float(np.nanmin(own)))
        label = "one seed" if number == 0 else None
        axis.plot(own[order], range(len(order)), "o", color="C1", markersize=3, label=label, clip_on=False)
    style: dict[str, Any] = {"markersize": 7, "markeredgewidth": 1.5, "fillstyle": "none", "clip_on": False}
    axis.plot(value[order], range(len(order)), "o", color="C0", label="the seeds' mean prediction", **style)
    axis.set_yticks(range(len(order)), [shortened(kept.classes[row]) for row in order])
    axis.invert_yaxis()
    axis.set_xlim(max(0.0, float(np.floor(10 * np.nanmin(lowest) - 0.2)) / 10), 1)
    axis.xaxis.set_major_locator(MultipleLocator(0.1))
    axis.set_xlabel("lwlrap of held-out clips")
    axis.grid(linewidth=0.5)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    return figure


def series(kept: Kept, column: str) -> list[tuple[list[int], list[float]]]:
    """-> for each run its epochs, and the values of a column of its history in those that have one."""
    made = []
    for run in kept.runs:
        rows = [row for row in run.history if row.get(column)]
        made.append(([int(row["epoch"]) for row in rows], [float(row[column]) for row in rows]))
    return made


def curves(kept: Kept, what: str) -> Figure:
    """Loss and held-out lwlrap by epoch: a thin line a run, a thick one for their median."""
    figure = Figure(figsize=(7.2, 3.0), layout="constrained")
    figure.suptitle(f"{what}: {len(kept.runs)} runs")
    axes = figure.subplots(1, len(_CURVES), sharex=True)
    for number, (axis, (column, label)) in enumerate(zip(axes, _CURVES, strict=True)):
        found: dict[int, list[float]] = {}
        for epochs, values in series(kept, column):
            few: dict[str, Any] = {"marker": "o", "markersize": 2} if len(epochs) < 12 else {}
            axis.plot(epochs, values, color=f"C{number}", linewidth=0.6, alpha=0.45, **few)
            for epoch, value in zip(epochs, values, strict=True):
                found.setdefault(epoch, []).append(value)
        whole = sorted(epoch for epoch, values in found.items() if len(values) == len(kept.runs))
        axis.plot(whole, [np.median(found[epoch]) for epoch in whole], color=f"C{number}", linewidth=2)
        axis.set_xlabel("epoch")
        axis.set_xlim(0, None)
        axis.set_title(label, loc="left")
        axis.grid(linewidth=0.5)
        axis.spines[["top", "right"]].set_visible(False)
    return figure
