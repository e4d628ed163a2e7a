"""The reliability diagram: whether what is said with 80 % is true four times of five."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no screen is needed, nor asked for

import matplotlib.pyplot as plt
import numpy as np

from fatk import calibration


def draw(truth: np.ndarray, before: np.ndarray, after: np.ndarray, temperature: float, path: Path) -> None:
    """(clips, classes) 0/1 and probabilities, as they are and calibrated -> a PNG."""
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(5.6, 6.2), sharex=True, height_ratios=(3, 1), layout="constrained"
    )
    above.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1, label="perfect")
    series = [("as the model says", before, "#0072b2", "o", -1)]
    if temperature != 1:
        series.append((f"temperature {temperature:.2f}", after, "#d55e00", "s", 1))
    edges = (np.arange(calibration.BINS) + 0.5) / calibration.BINS
    width = 0.4 / calibration.BINS if len(series) > 1 else 0.8 / calibration.BINS
    for name, chances, colour, marker, side in series:
        mean, share, count = calibration.reliability(truth, chances)
        error = calibration.ece(truth, chances)
        there = count > 0
        label = f"{name}, error {error:.3f}"
        above.plot(mean[there], share[there], color=colour, marker=marker, markersize=5, label=label)
        shift = side * width / 2 if len(series) > 1 else 0
        below.bar(edges + shift, count, width=width, color=colour)
    above.set(ylabel="share of true labels", xlim=(0, 1), ylim=(-0.02, 1.02))
    above.set_title("Reliability on the validation clips", loc="left", fontsize=11)
    above.legend(loc="upper left", fontsize=9, frameon=False)
    below.set(xlabel="probability", ylabel="pairs of clip\nand class", yscale="log")
    for axis in (above, below):
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_axisbelow(True)
        axis.grid(color="0.9", linewidth=0.7)
    figure.savefig(path, dpi=130, format="png")
    plt.close(figure)
