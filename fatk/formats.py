"""`python -m fatk.formats --model DIR --to litert onnx`: a run's network for phones, browsers and other servers.

Files go to DIR/formats. LiteRT and ONNX take a waveform where their operations allow it and images of windows
otherwise; formats.json says which, and how far each file's answers are from the Keras model's on real clips.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from fatk import card, cli, folders

TOLERANCE = 1e-3  # largest difference of a probability; of float32 files
KINDS = ("litert", "onnx")
WEIGHTS = ("float16", "int8")
CLIPS = 10  # that are compared
_SECONDS = 30.0  # of a clip that are compared
_VALID = 200  # validation clips by which quantised weights are judged
_CALIBRATION = 100  # windows by which int8 finds its ranges

_NEEDS = {"litert": ("tensorflow",), "onnx": ("tf2onnx", "onnxruntime")}

Row = dict[str, Any]


def convert(
    run: folders.Run,
    kinds: Sequence[str],
    quantise: Sequence[str] = (),
    audio: Path | None = None,
    wanted: str = "auto",
) -> tuple[str, list[Row]]:
    """Write DIR/formats, whole or not at all -> (what was compared on, a row a file).

    `audio`: a folder whose sounds are compared on; None: the run's validation clips, or made sounds where these
    are not there. `wanted`: "audio", "image", or "auto". Raises `UserError` where a difference is too large.
    """
    from fatk.ensemble_runs import read_members
    from fatk.export import Plan, expected

    plan = Plan(read_members([run.folder]))
    given, clips = _clips(run, plan.rate, audio)
    target = run.formats
    with tempfile.TemporaryDirectory(dir=run.folder, prefix="formats-") as name:
        folder = Path(name)
        images = [_windows(plan, clip) for clip in clips]
        arrays = {f"clip{n}": clip for n, clip in enumerate(clips)}
        arrays |= {f"image{n}": image for n, image in enumerate(images)}
        np.savez(folder / "clips.npz", **arrays)  # type: ignore[arg-type]
        truth = _validation(run, plan, folder) if quantise else None
        calibration = (
            np.concatenate(images) if truth is None else np.load(folder / "valid.npy", mmap_mode="r")
        )
        calibration = calibration.reshape(-1, *calibration.shape[-3:])
        chosen = np.unique(np.linspace(0, len(calibration) - 1, _CALIBRATION).astype(int))
        np.save(folder / "calibration.npy", calibration[chosen])
        job = {"plan": plan.to_json(), "to": list(kinds), "quantise": list(quantise), "input": wanted}
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        said = expected(plan, clips)
        _fresh("fatk.formats", ["build", str(folder.resolve())], "tensorflow")
        _fresh("fatk.formats_run", [str(folder.resolve())], "jax")
        rows = [
            _judged(row, folder, said, truth)
            for row in json.loads((folder / "built.json").read_text(encoding="utf-8"))
        ]
        config = plan.members[0].config
        told = {
            "compared_on": given,
            "clips": len(clips),
            "classes": list(plan.members[0].classes),
            "sampling_rate": plan.rate,
            "longest_seconds": _longest(config.features),
            "image": {
                "shape": list(config.features.shape),
                "range": [0, 1],
                "crops": config.evaluate.crops,
                "around": config.evaluate.around,
            },
            "files": rows,
        }
        made = folder / "formats"
        made.mkdir()
        for row in rows:
            (folder / row["file"]).rename(made / row["file"])
        text = json.dumps(told, indent=1, ensure_ascii=False) + "\n"
        (made / "formats.json").write_text(text, encoding="utf-8")
        if target.exists():
            shutil.rmtree(target)
        os.replace(made, target)
    return given, rows


def _clips(run: folders.Run, rate: int, audio: Path | None) -> tuple[str, list[np.ndarray]]:
    """-> (where they come from, (samples,) waveforms)."""
    from fatk import held
    from fatk.audio import UnreadableError, read
    from fatk.export import probes
    from fatk.inputs import sound_files

    if audio is not None:
        files, given = sound_files([str(audio)]), f"sounds of {audio.name}"
    else:
        files, given = list(held.sounds(run).values()), "validation clips"
    if not files:
        return "made sounds, for the validation clips are not there", probes(rate)
    chosen = [files[n] for n in np.unique(np.linspace(0, len(files) - 1, CLIPS).astype(int))]
    clips = []
    for path in chosen:
        try:
            clips.append(read(path, rate)[: round(_SECONDS * rate)])
        except UnreadableError as error:
            raise cli.UserError(f"{path}: {error}.") from None
    return given, clips


def _longest(features: Any) -> float | None:
    """Seconds of a clip whose image is resized in 32 bits without an overflow (`formats_ops.cast`)."""
    if features.stretch != "resize" or not features.narrows:
        return None
    return float((2**30 * features.pace) ** 0.5 * features.hop // features.rate)


def _windows(plan: Any, clip: np.ndarray) -> np.ndarray:
    """(samples,) -> (crops, bands, columns, channels) uint8: what the network sees of a clip."""
    from fatk import runtime

    tf = runtime.quiet_tensorflow()
    from pipelines import crops, ops
    from pipelines.domain import whole_image

    config = plan.members[0].config
    image = whole_image(ops, tf.constant(clip), config.features, config.domain).image
    asked = config.evaluate
    return crops.even_crops(image, config.features.columns, tf.constant(asked.crops), asked.around).numpy()


def _validation(run: folders.Run, plan: Any, folder: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Write the windows of validation clips -> (truth, probabilities as kept); None where there are no sounds."""
    from fatk import held
    from fatk.audio import read

    files = held.sounds(run)
    if not files:
        return None
    kept = held.read(run)
    rows = [row for row, name in enumerate(kept.names) if name in files]
    rows = [rows[n] for n in np.unique(np.linspace(0, len(rows) - 1, _VALID).astype(int))]
    config = plan.members[0].config
    shape = (len(rows), config.evaluate.crops, *config.features.shape)
    windows = np.lib.format.open_memmap(folder / "valid.npy", "w+", np.uint8, shape)
    for place, row in enumerate(rows):
        windows[place] = _windows(plan, read(files[kept.names[row]], plan.rate))
    windows.flush()
    return kept.truth[rows], kept.chances[rows]


def _judged(row: Row, folder: Path, said: np.ndarray, truth: tuple[np.ndarray, np.ndarray] | None) -> Row:
    """A file that was built -> the same with what it is worth. Raises `UserError` beyond the tolerance."""
    from models.ranking import lwlrap

    with np.load(folder / f"{row['file']}.npz") as answers:
        row = row | {"runtime": str(answers["runtime"]), "bytes": (folder / row["file"]).stat().st_size}
        if row["output"] == "image":
            return row | {
                "mean_difference_levels": float(answers["clips"].max())
            }  # of the worst clip, of 255
        row["largest_difference"] = float(np.abs(answers["clips"] - said).max())
        if row["weights"] == "float32":
            if not row["largest_difference"] <= TOLERANCE:
                raise cli.UserError(
                    f"{row['file']}: its probabilities are off by {row['largest_difference']:.2g}, over "
                    f"{TOLERANCE:g}, in {row['runtime']}; nothing was written."
                )
        elif truth is not None:
            labelled = truth[0].any(1)
            before = lwlrap(truth[0][labelled], truth[1][labelled])
            after = lwlrap(truth[0][labelled], answers["valid"][labelled])
            row |= {"valid_clips": int(labelled.sum()), "lwlrap": after, "lwlrap_float32": before}
            row["lwlrap_loss"] = before - after
    return row


def _fresh(module: str, arguments: list[str], backend: str) -> None:
    """Run a module in a process of its own. Raises `UserError` with its last line where it fails."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=Path(__file__).resolve().parents[1],
        env=os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise cli.UserError(f"{module} {arguments[0] if len(arguments) > 1 else ''}: {last[:300]}")


def _check(kinds: Sequence[str], model: Path) -> None:
    """Raise `UserError` for what is not there before anything is computed."""
    for kind in kinds:
        missing = [name for name in _NEEDS[kind] if find_spec(name) is None]
        if missing:
            raise cli.UserError(
                f"--to {kind} needs {', '.join(missing)}: pip install -r requirements-formats.txt"
            )
    if (model / "ensemble.json").exists():
        raise cli.UserError(f"{model}: an ensemble; its members' runs can be converted, one at a time.")


def _line(folder: Path, row: Row) -> str:
    """What is said of a file."""
    text = f"{folder / row['file']}: {row['input']} in, {row['bytes'] / 1e6:.1f} MB"
    if row["output"] == "image":
        return f"{folder / row['file']}: audio in, the windows' images out, {row['bytes'] / 1e6:.1f} MB"
    text += f", off by {row['largest_difference']:.1e} at most in {row['runtime']}"
    if "lwlrap_loss" in row:
        text += (
            f", lwlrap {row['lwlrap']:.4f} against {row['lwlrap_float32']:.4f} on {row['valid_clips']} clips"
        )
    elif row["weights"] != "float32":
        text += ", lwlrap not measured: the validation clips are not there"
    return text + (f" ({row['why']})" if "why" in row else "")


def main(argv: Sequence[str] | None = None) -> int:
    """The command, and the step that it runs in a process of its own."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["build"]:
        from fatk import runtime

        runtime.quiet_tensorflow()
        from fatk.formats_build import build

        build(Path(arguments[1]))
        return 0
    parser = cli.parser("fatk.formats", __doc__)
    parser.add_argument("--model", required=True, metavar="DIR", help="a run's folder, as runs/demo")
    parser.add_argument(
        "--to", nargs="+", required=True, choices=KINDS, metavar="FORMAT", help="litert, onnx"
    )
    parser.add_argument(
        "--quantise", nargs="+", default=[], choices=WEIGHTS, metavar="WEIGHTS",
        help="LiteRT with smaller weights too: float16, int8; images in",
    )  # fmt: skip
    parser.add_argument("--audio", metavar="DIR", help="sounds to compare on; default: the validation clips")
    parser.add_argument(
        "--input", choices=("auto", "audio", "image"), default="auto",
        help="what the files take; auto: a waveform where it can be",
    )  # fmt: skip
    given = parser.parse_args(arguments)
    if given.quantise and "litert" not in given.to:
        raise cli.UserError(f"--quantise is for --to litert. Received: --to {' '.join(given.to)}.")
    run = folders.Run(Path(given.model))
    _check(given.to, run.folder)
    compared, rows = convert(
        run, given.to, given.quantise, Path(given.audio) if given.audio else None, given.input
    )
    card.write_card(run)
    cli.say(f"compared with the Keras model on {compared}")
    for row in rows:
        cli.say(_line(run.formats, row))
    return 0


if __name__ == "__main__":
    cli.run(main)
