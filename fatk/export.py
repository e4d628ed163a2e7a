"""`python -m fatk.export --run DIR`: a run's kept network as a SavedModel that takes a waveform.

Three processes, each with the backend it needs: this one computes what is expected, a second builds the
SavedModel with Keras on TensorFlow (plain TensorFlow operations, which jax2tf's are not), a third loads it
with TensorFlow alone and compares. Only then does the folder get its name.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fatk import cli, folders
from fatk.config import Config, load_config

TOLERANCE = 1e-4  # largest difference of a probability
_SECONDS = (0.01, 1.0, 30.0)  # lengths of the clips that are compared


def probes(rate: int) -> list[np.ndarray]:
    """-> clips of (samples,) float32 in -1..1: a gliding tone in noise, one a length."""
    draw = np.random.default_rng(0)
    clips = []
    for seconds in _SECONDS:
        time = np.arange(max(1, round(seconds * rate))) / rate
        glide = 0.4 * np.sin(2 * np.pi * (200 + 300 * np.sin(time)) * time)
        clips.append((glide + 0.05 * draw.standard_normal(len(time))).astype(np.float32))
    return clips


def expected(run: folders.Run, config: Config, clips: list[np.ndarray]) -> np.ndarray:
    """-> (clips, classes): what the run's Keras model says, on the backend of this process."""
    from fatk import runtime

    tf = runtime.quiet_tensorflow()
    import keras

    from models import networks
    from models.tagger import mean_logits
    from pipelines import crops, ops
    from pipelines.datasets import to_unit
    from pipelines.domain import whole_image

    network = networks.load(run.network)
    answers = []
    for clip in clips:
        image = whole_image(ops, tf.constant(clip), config.features, config.domain).image
        cut = crops.even_crops(image, config.features.columns, tf.constant(config.evaluate.crops))
        logits = network(to_unit(cut).numpy(), training=False)
        answers.append(keras.ops.sigmoid(mean_logits(logits, config.evaluate.crops)))
    return np.stack([np.asarray(keras.ops.convert_to_numpy(answer))[0] for answer in answers])


def build(run: folders.Run, target: Path) -> None:
    """Write the SavedModel. Wants Keras on TensorFlow."""
    from fatk import runtime

    runtime.quiet_tensorflow()
    import keras

    from fatk.serving import ServedTagger
    from models import networks

    if keras.backend.backend() != "tensorflow":
        raise RuntimeError("the SavedModel is built with KERAS_BACKEND=tensorflow")
    config = load_config(run.config)
    network = networks.load(run.network)
    names = tuple(run.classes.read_text(encoding="utf-8").splitlines())
    served = ServedTagger(network, config.features, config.evaluate, names, run.classes, config.domain)
    served.save(target)


def verify(target: Path, expectation: Path) -> float:
    """-> the largest difference of a probability between the SavedModel and what is expected.

    Batches of one and of seven, where the clip stands among strangers: its answer must not change.
    """
    from fatk.tagger import SavedTagger

    with np.load(expectation) as arrays:
        wanted = arrays["probabilities"]
        clips = [arrays[f"clip{number}"] for number in range(len(wanted))]
    tagger = SavedTagger(target)
    strangers = np.random.default_rng(1).uniform(-1, 1, (7, max(map(len, clips)))).astype(np.float32)
    worst = 0.0
    for clip, answer in zip(clips, wanted, strict=True):
        alone = tagger.predict(clip)
        crowd = strangers[:, : len(clip)].copy()
        crowd[3] = clip
        among = tagger.predict_batch(list(crowd))[3]
        worst = max(worst, *(float(np.abs(x - answer).max()) for x in (alone, among)))
    loaded = {"keras", "jax"} & set(sys.modules)
    if loaded:
        raise RuntimeError(f"the SavedModel was to be loaded with TensorFlow alone; imported: {loaded}")
    return worst


def export(run: folders.Run) -> float:
    """Build, load again in a fresh process, compare, and put in place -> the largest difference.

    Raises `RuntimeError` where a step fails or the difference is beyond `TOLERANCE`; an earlier SavedModel
    stays where it was.
    """
    config = load_config(run.config)
    clips = probes(config.features.rate)
    with tempfile.TemporaryDirectory(dir=run.folder, prefix="export-") as folder:
        expectation, target = Path(folder) / "expected.npz", Path(folder) / "saved_model"
        np.savez(
            expectation,
            probabilities=expected(run, config, clips),
            **{f"clip{number}": clip for number, clip in enumerate(clips)},  # type: ignore[arg-type]
        )
        _fresh("tensorflow", "build", run.folder, target)
        difference = float(_fresh("tensorflow", "verify", target, expectation).split()[-1])
        if not difference <= TOLERANCE:
            raise RuntimeError(
                f"the SavedModel's probabilities are off by {difference:.2g}, over {TOLERANCE:g}"
            )
        if run.saved_model.exists():
            shutil.rmtree(run.saved_model)
        os.replace(target, run.saved_model)
    return difference


def _fresh(backend: str, step: str, *arguments: Path) -> str:
    """Run a step of this module in a process of its own -> what it printed."""
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "fatk.export", step, *(str(path.resolve()) for path in arguments)],
        cwd=root,
        env=os.environ | {"KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the export's step {step!r} failed:\n{done.stderr.strip()[-2000:]}")
    return done.stdout


def main(argv: Sequence[str] | None = None) -> int:
    """The command, and the two steps that it runs in processes of their own."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["build"]:
        build(folders.Run(Path(arguments[1])), Path(arguments[2]))
        return 0
    if arguments[:1] == ["verify"]:
        print(verify(Path(arguments[1]), Path(arguments[2])))
        return 0
    parser = cli.parser("fatk.export", __doc__)
    parser.add_argument("--run", required=True, metavar="DIR", help="a run's folder, as runs/demo")
    run = folders.Run(Path(parser.parse_args(arguments).run))
    if not run.network.exists():
        raise cli.UserError(
            f"{run.folder}: no run, or one that has kept no network yet ({run.network.name})."
        )
    difference = export(run)
    cli.say(f"{run.saved_model}: differs from the Keras model by {difference:.1e} at most")
    return 0


if __name__ == "__main__":
    cli.run(main)
