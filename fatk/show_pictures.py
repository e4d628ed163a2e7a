"""The pictures of `fatk.show`: each function draws one figure, in the colours of the theme that is set.

Sizes follow from what is drawn, so that the names of 80 classes stand beside each other as those of ten do.
"""

import re
import textwrap
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure

from fatk import hertz
from fatk.pictures import hertz_axis
from fatk.show_themes import DOTS
from pipelines.settings import FeatureSettings

_FIT = 5.0  # inches: width of a picture that a phone's screen still shows whole
_FEW = 25  # classes up to which cells have their numbers written in
_NAME = 32  # characters of a class name in a line over curves
_LONGEST = 60  # characters of a name beside a row or under a column
_FREQUENCIES = (100, 1000, 2000, 5000, 10000, 20000)  # hertz, below a curve


def folded(name: str, width: int = _NAME) -> str:
    """A long class name -> the same in lines of `width` characters at most where it has a place to break."""
    words = re.findall(r"[^_ ]*[_ ]|[^_ ]+", name)
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] += word
    return "\n".join(lines)


def shortened(name: str, most: int = 24) -> str:
    """A long name -> its beginning and its end."""
    return name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-(most - most // 2) :]}"


def _new(width: float, height: float, title: str) -> Figure:
    """An empty figure of so many inches, and what more the lines of its title need."""
    lines = _lines(title, width)
    figure = Figure(figsize=(width, height + 0.17 * len(lines)), layout="constrained")
    figure.suptitle("\n".join(lines))
    return figure


def _lines(title: str, width: float) -> list[str]:
    return textwrap.wrap(title, int(width * 11))


def strips(images: Mapping[str, np.ndarray], settings: FeatureSettings, seconds: float, title: str) -> Figure:
    """{name: (bands, columns) levels, or (bands, columns, 3) colours; uint8} -> one below the other.

    Time counts from the clip's own beginning: a short clip is padded on both sides.
    """
    figure = _new(_FIT, 0.55 + 1.35 * len(images), title)
    axes = figure.subplots(len(images), 1, sharex=True, squeeze=False)[:, 0]
    drawn = None
    for axis, (name, image) in zip(axes, images.items(), strict=True):
        step = settings.column_seconds
        lead = max(settings.shortest / settings.rate - seconds, 0) / 2
        extent = (-lead, image.shape[1] * step - lead, -0.5, image.shape[0] - 0.5)
        shown = axis.imshow(
            image,
            origin="lower",
            aspect="auto",
            extent=extent,
            cmap="magma",
            vmin=0,
            vmax=255,
            interpolation="nearest" if image.shape[1] < _FIT * DOTS / 2 else "antialiased",
        )
        drawn = shown if image.ndim == 2 else drawn
        _hertz_up(axis, settings)
        axis.set_title(name, loc="left")
    axes[-1].set_xlabel("time (s)")
    figure.supylabel("frequency", fontsize=9)
    if drawn is not None:
        figure.colorbar(drawn, ax=list(axes), pad=0.01, aspect=45, label="level, 0 to 255")
    return figure


def _hertz_up(axis: Axes, settings: FeatureSettings) -> None:
    """The vertical axis in hertz, without the ticks that a low strip has no room for."""
    hertz_axis(axis, settings)
    axis.tick_params(labelsize=8)
    rows, labels = axis.get_yticks(), [text.get_text() for text in axis.get_yticklabels()]
    shown: list[int] = []
    for number, row in enumerate(rows):  # from the highest down
        if not shown or rows[shown[-1]] - row >= 0.12 * settings.bands:
            shown.append(number)
    axis.set_yticks([rows[number] for number in shown], [labels[number] for number in shown])


def _room(names: Sequence[str]) -> float:
    """Inches that the longest name takes."""
    return 0.072 * min(max(map(len, names)), _LONGEST)


def _names_down(axis: Axes, names: Sequence[str]) -> None:
    axis.set_yticks(range(len(names)), [shortened(name, _LONGEST) for name in names])
    axis.tick_params(axis="y", length=0, labelsize=8 if len(names) <= _FEW else 7)


def matrix(
    values: np.ndarray,
    down: Sequence[str],
    across: Sequence[str],
    title: str,
    meaning: str,
    texts: np.ndarray | None = None,
) -> Figure:
    """(rows, columns) in 0..1 and their names -> cells; `texts`, of the same shape, are written in.

    Colours rise with the square root: what is small should be seen beside what is 1.
    """
    rows, columns = values.shape
    cell = 0.25 if texts is not None else 0.165
    beside, below = _room(down) + 0.9, _room(across)
    above = below if rows > 2 * _FEW else 0
    width = max(cell * columns + beside, _FIT)
    figure = _new(width, max(cell * rows, 1.2) + below + above + 0.6, title)
    axis = figure.subplots()
    cells = LinearSegmentedColormap.from_list("cells", (matplotlib.rcParams["axes.facecolor"], "C0"))
    drawn = axis.imshow(values, aspect="auto", cmap=cells, norm=PowerNorm(0.5, 0, 1))
    _names_down(axis, down)
    axis.set_xticks(range(columns), [shortened(name, _LONGEST) for name in across], rotation=90)
    axis.tick_params(axis="x", length=0, labelsize=8 if columns <= _FEW else 7, labeltop=above > 0)
    axis.tick_params(axis="x", top=False)
    lines = {"colors": matplotlib.rcParams["grid.color"], "linewidth": 0.5}
    axis.vlines(np.arange(1, columns) - 0.5, -0.5, rows - 0.5, **lines)
    axis.hlines(np.arange(1, rows) - 0.5, -0.5, columns - 0.5, **lines)
    if texts is not None:
        light = drawn.to_rgba(values)[..., :3] @ (0.2126, 0.7152, 0.0722)  # roughly what the eye sees
        for (row, column), text in np.ndenumerate(texts):
            colour = "#000000" if light[row, column] > 0.45 else "#ffffff"
            axis.text(column, row, text, ha="center", va="center", fontsize=6, color=colour)
    figure.colorbar(drawn, ax=axis, pad=0.01, aspect=40, shrink=min(1, 5 / (cell * rows)), label=meaning)
    return figure


def balance_bars(counts: Mapping[str, np.ndarray], classes: Sequence[str], title: str) -> Figure:
    """{split: (classes,) clips} -> bars, a class a row, a split a column."""
    figure = _new(_room(classes) + 0.3 + 1.25 * len(counts), 0.9 + 0.17 * max(len(classes), 4), title)
    axes = figure.subplots(1, len(counts), sharey=True, squeeze=False)[0]
    for number, (axis, (split, count)) in enumerate(zip(axes, counts.items(), strict=True)):
        bars = axis.barh(range(len(classes)), count, color=f"C{number % 4}", height=0.75)
        axis.bar_label(bars, padding=2, fontsize=6.5)
        axis.set_xlim(0, 1.3 * max(count.max(), 1))
        axis.set_title(split, fontsize=8)
        axis.set_xlabel("clips")
        axis.set_xticks([0, max(int(count.max()), 1)])
        axis.tick_params(axis="x", labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    _names_down(axes[0], classes)
    axes[0].set_ylim(len(classes) - 0.4, -0.6)
    for axis in axes[1:]:
        axis.tick_params(axis="y", length=0)
    return figure


def _hertz_across(axis: Axes, settings: FeatureSettings) -> None:
    """Label the horizontal axis of curves over bands in hertz."""
    shown: list[tuple[float, int]] = []
    for tick, place in hertz.places(settings, _FREQUENCIES):
        if not shown or place - shown[-1][0] >= 0.13 * settings.bands:
            shown.append((place, tick))
    labels = [f"{tick // 1000}k" if tick >= 1000 else str(tick) for _, tick in shown]
    axis.set_xticks([place for place, _ in shown], labels)


def envelope_curves(
    curves: Mapping[str, np.ndarray],
    panels: Mapping[str, int],
    settings: FeatureSettings,
    title: str,
) -> Figure:
    """{domain: (classes, bands) levels}, {panel's title: its class} -> curves over frequency."""
    across = min(len(panels), 2 if len(panels) <= 12 else 4)
    down = -(-len(panels) // across)
    figure = Figure(figsize=(_FIT if across <= 2 else 9.6, 1.4 + 1.3 * down), layout="constrained")
    axes = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
    for axis, (name, row) in zip(axes, panels.items(), strict=False):
        for (domain, levels), line in zip(curves.items(), ("-", "-", "--", ":"), strict=False):
            axis.plot(levels[row], line, label=domain, linewidth=1.3)
        axis.set_title(name, loc="left", fontsize=7.5)
        axis.grid(linewidth=0.5)
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    for axis in axes[max(len(panels) - across, 0) : len(panels)]:
        axis.tick_params(labelbottom=True)  # the last panel of a column that is shorter than the first
    _hertz_across(axes[0], settings)
    axes[0].set_xlim(0, settings.bands - 1)
    axes[0].set_ylim(0, None)
    figure.supxlabel("frequency (Hz)", fontsize=9)
    figure.supylabel("mean level, 0 to 255", fontsize=9)
    # The legend carries the title: constrained layout would print the one over the other.
    lines = "\n".join(_lines(title, figure.get_figwidth()))
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=2, fontsize=8, title=lines, title_fontsize=9)
    return figure
