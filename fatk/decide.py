"""`python -m fatk.decide --run DIR`: thresholds that turn scores into labels, chosen on the validation clips.

For each class the threshold of the best F1, or with `--precision P` the lowest that keeps the precision asked
for. `--temperature fit` calibrates the probabilities first. The outcome is DIR/decisions.json, and a copy in
the SavedModel's assets.extra; `fatk.predict --tags` uses it. Thresholds of a few clips are rough.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fatk import calibration, card, cli, folders, held
from fatk.thresholds import Threshold, choose

FILE = "decisions.json"
FEW = 10  # positives under which a class's threshold is called rough


def decide(
    run: folders.Run, precision: float | None = None, temperature: float | None = 1.0
) -> dict[str, Any]:
    """Choose, and write the files -> what they hold. `temperature`: None: fitted; 1: scores as they are."""
    clips = held.read(run)
    fitted = temperature is None
    used = calibration.fit(clips.truth, clips.chances) if temperature is None else temperature
    chances = calibration.apply(clips.chances, used)
    found = choose(clips.truth, chances, precision)
    before, after = (calibration.measures(clips.truth, values) for values in (clips.chances, chances))
    told = {
        "rule": "f1" if precision is None else "precision",
        "precision": precision,
        "temperature": float(used),
        "temperature_fitted": fitted,
        "clips": len(clips.names),
        "calibration": {"before": before, "after": after},
        "classes": [_told(name, one) for name, one in zip(clips.classes, found, strict=True)],
    }
    folders.write_text(run.decisions, json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    carry(run)
    from fatk.calibration_plot import draw

    draw(clips.truth, clips.chances, chances, used, run.reliability)
    return told


def carry(run: folders.Run) -> None:
    """Put a run's decisions into its SavedModel, where both are there: a new export has none."""
    path, extra = run.decisions, run.saved_model / "assets.extra"
    if path.is_file() and run.saved_model.is_dir():
        extra.mkdir(exist_ok=True)  # TensorFlow loads nothing of it, and TensorFlow Serving leaves it alone
        folders.write_text(extra / FILE, path.read_text(encoding="utf-8"))


def _told(name: str, found: Threshold) -> dict[str, Any]:
    """A class's part of the file."""
    scores = {key: getattr(found, key) for key in ("precision", "recall", "f1")}
    return {
        "class": name,
        "threshold": found.value,  # whole: a rounded one may lie on a score
        "positives": found.positives,
        **{key: None if value is None else round(value, 4) for key, value in scores.items()},
        "note": found.note or ("rough" if found.positives < FEW else ""),
    }


def find(model: str | Path) -> Path | None:
    """A run's folder or a SavedModel -> the decisions that belong to it."""
    folder = Path(model)
    inside = Path("assets.extra") / FILE
    for path in (folder / FILE, folder / "saved_model" / inside, folder / inside, folder.parent / FILE):
        # The folder above counts for a run's SavedModel alone: others may lie beside each other.
        if path.is_file() and (path.parent != folder.parent or folder.name == "saved_model"):
            return path
    return None


class Decisions:
    """Scores to labels. `thresholds`: (classes,), in the order of the classes given."""

    def __init__(self, model: str | Path, classes: Sequence[str]):
        path = find(model)
        if path is None:
            raise cli.UserError(
                f"{model}: no thresholds ({FILE} is missing). To choose them on the validation clips: "
                "python -m fatk.decide --run DIR."
            )
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            known = {row["class"]: float(row["threshold"]) for row in told["classes"]}
            self.temperature = float(told["temperature"])
        except (ValueError, KeyError, TypeError) as error:
            raise cli.UserError(f"{path}: not a file of fatk.decide ({error!r}).") from None
        missing = [name for name in classes if name not in known]
        if missing:
            raise cli.UserError(f"{path}: no threshold of the class {missing[0]!r}.")
        self.thresholds = np.array([known[name] for name in classes])

    def calibrated(self, chances: np.ndarray) -> np.ndarray:
        """(..., classes) probabilities -> the same, calibrated."""
        return calibration.apply(chances, self.temperature)

    def tags(self, chances: np.ndarray) -> np.ndarray:
        """(..., classes) probabilities as the model gives them -> the same shape, bool."""
        return self.calibrated(chances) >= self.thresholds


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = cli.parser("fatk.decide", __doc__)
    parser.add_argument("--run", required=True, metavar="DIR", help="a run's folder, as runs/demo")
    parser.add_argument("--precision", type=float, metavar="P", help="ask for it; by default the best F1")
    parser.add_argument(
        "--temperature", default="1", metavar="T", help="'fit' on the validation clips, or a number (1)"
    )
    given = parser.parse_args(argv)
    if given.precision is not None and not 0 < given.precision <= 1:
        raise cli.UserError(f"--precision must be above 0 and at most 1. Received: {given.precision:g}.")
    temperature = None
    if given.temperature != "fit":
        try:
            temperature = float(given.temperature)
        except ValueError:
            temperature = 0.0
        if not 0 < temperature < float("inf"):
            raise cli.UserError(
                f"--temperature must be 'fit' or a number above 0. Received: {given.temperature!r}."
            )
    run = folders.Run(Path(given.run))
    told = decide(run, given.precision, temperature)
    if run.config.is_file():
        card.write_card(run)
    rows = [
        [row["class"], f"{row['threshold']:.9g}", row["positives"]]
        + ["" if row[key] is None else f"{row[key]:.2f}" for key in ("precision", "recall", "f1")]
        + [row["note"]]
        for row in told["classes"]
    ]
    header = ("class", "threshold", "positives", "precision", "recall", "F1", "")
    cli.table(f"{told['clips']} validation clips", header, rows)
    if any(row["note"] == "rough" for row in told["classes"]):
        cli.say(f"rough: chosen on fewer than {FEW} clips that carry the class")
    measured = told["calibration"]
    changed = "" if told["temperature"] == 1 else f" -> {measured['after']['ece']:.4f}"
    cli.say(
        f"temperature {told['temperature']:.3f}, calibration error {measured['before']['ece']:.4f}{changed}"
    )
    cli.say(f"{run.decisions}, {run.reliability}")
    return 0


if __name__ == "__main__":
    cli.run(main)
