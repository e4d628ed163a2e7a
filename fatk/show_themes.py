"""Colours for a light and a dark screen, and figures to files in both."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
from cycler import cycler
from matplotlib.figure import Figure
from PIL import Image

DOTS = 140  # pixels an inch

Theme = Literal["light", "dark"]


def _theme(paper: str, ink: str, faint: str, *colours: str) -> Any:
    """Matplotlib's settings for a screen."""
    inked = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    return dict.fromkeys(inked, ink) | {
        "figure.facecolor": paper,
        "axes.facecolor": paper,
        "legend.facecolor": paper,
        "legend.edgecolor": faint,
        "grid.color": faint,
        "axes.prop_cycle": cycler(color=colours),
        "font.size": 9,
        "axes.titlesize": 9,
        "figure.titlesize": 10,
        "savefig.dpi": DOTS,
        "text.parse_math": False,  # a class may be called $100
    }


THEMES: dict[Theme, Any] = {
    "light": _theme("#ffffff", "#1b1f24", "#d0d7de", "#0072b2", "#d55e00", "#00805c", "#a8508a"),
    "dark": _theme("#0f1318", "#e6e9ed", "#343c47", "#56b4e9", "#ff8c42", "#2fc79a", "#e08fc0"),
}


@dataclass(frozen=True)
class Picture:
    """A drawing: PNG, and for the page smaller WebP for a light and a dark screen."""

    name: str  # of its file, without the suffix
    alt: str  # what it shows, for who cannot see it
    png: bytes
    light: bytes
    dark: bytes


def render(name: str, alt: str, paint: Callable[[], Figure]) -> Picture:
    """Draw one figure in both themes."""
    light, dark = (_png(paint, theme) for theme in ("light", "dark"))
    return Picture(name, alt, light, _webp(light), _webp(dark))


def _png(paint: Callable[[], Figure], theme: Theme) -> bytes:
    made = io.BytesIO()
    with matplotlib.rc_context(THEMES[theme]):  # some of them are read only when a figure is saved
        paint().savefig(made, format="png")
    return made.getvalue()


def _webp(png: bytes) -> bytes:
    """The same, smaller: without loss, or as a photograph where that is smaller still."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    made = []
    for lossless in (True, False):
        file = io.BytesIO()
        picture.save(file, "WEBP", lossless=lossless, quality=85)
        made.append(file.getvalue())
    return min(made, key=len)
