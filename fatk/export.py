"""`python -m fatk.export --run DIR`: a run's kept network as a SavedModel that takes a waveform.

Three processes, each with the backend it needs: this one computes what is expected, a second builds the
SavedModel with Keras on TensorFlow (plain TensorFlow operations, which jax2tf's are not), a third loads it
with TensorFlow alone and compares. Only then does the folder get its name. `fatk.ensemble` goes the same way.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fatk import card, cli, decide, folders
from fatk.ensemble_means import Mean
from fatk.ensemble_runs import Trained, read_members

TOLERANCE = 1e-4  # largest difference of a probability
_SECONDS = (0.01, 1.0, 30.0)  # lengths of the clips that are compared


@dataclass(frozen=True, eq=False)
class Plan:
    """What a SavedModel is made of."""

    members: tuple[Trained, ...]
    mean: Mean | None = None  # None: the arithmetic one
    crops: int | None = None  # windows a clip, for all; None: as each member was evaluated
    jitter: bool = False  # of all windows but the first

    @property
    def rate(self) -> int:
        """Hz."""
        return self.members[0].config.features.rate

    def to_json(self) -> dict[str, Any]:
        """To be read back by `from_json` in another process."""
        return {
            "runs": [str(member.run.folder.resolve()) for member in self.members],
            "mean": None if self.mean is None else self.mean.to_json(),
            "crops": self.crops,
            "jitter": self.jitter,
        }

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> "Plan":
        """What `to_json` gave."""
        mean = None if tree["mean"] is None else Mean.from_json(tree["mean"])
        return cls(read_members(tree["runs"]), mean, tree["crops"], tree["jitter"])


def probes(rate: int) -> list[np.ndarray]:
    """-> clips of (samples,) float32 in -1..1: a gliding tone in noise, one a length."""
    draw = np.random.default_rng(0)
    clips = []
    for seconds in _SECONDS:
        time = np.arange(max(1, round(seconds * rate))) / rate
        glide = 0.4 * np.sin(2 * np.pi * (200 + 300 * np.sin(time)) * time)
        clips.append((glide + 0.05 * draw.standard_normal(len(time))).astype(np.float32))
    return clips


def expected(plan: Plan, clips: list[np.ndarray]) -> np.ndarray:
    """-> (clips, classes): the mean of what the Keras models say, on the backend of this process."""
    said = np.stack([_member_says(member, plan, clips) for member in plan.members])
    return said.mean(0) if plan.mean is None else plan.mean(said)


def _member_says(member: Trained, plan: Plan, clips: list[np.ndarray]) -> np.ndarray:
    """-> (clips, classes), in the order of the answer."""
    from fatk import runtime

    tf = runtime.quiet_tensorflow()
    import keras

    from fatk import serving_windows
    from models import networks
    from models.tagger import mean_logits
    from pipelines import ops
    from pipelines.datasets import to_unit
    from pipelines.domain import whole_image

    network, config = networks.load(member.run.network), member.config
    columns, evaluate = config.features.columns, config.evaluate
    count = plan.crops or evaluate.crops
    answers = []
    for clip in clips:
        image = whole_image(ops, tf.constant(clip), config.features, config.domain).image
        cut = serving_windows.cut(image, columns, tf.constant(count), plan.jitter, evaluate.around)
        logits = network(to_unit(cut).numpy(), training=False)
        answers.append(keras.ops.sigmoid(mean_logits(logits, count)))
    said = np.stack([np.asarray(keras.ops.convert_to_numpy(answer))[0] for answer in answers])
    return said[:, list(member.order)]


def lay_out(plan: Plan, assets: dict[str, str], folder: Path) -> None:
    """Write what `build` reads."""
    (folder / "plan.json").write_text(json.dumps(plan.to_json()), encoding="utf-8")
    (folder / "assets").mkdir()
    for name, text in ({"classes.txt": "\n".join(plan.members[0].classes) + "\n"} | assets).items():
        (folder / "assets" / name).write_text(text, encoding="utf-8")


def build(folder: Path) -> None:
    """`plan.json` and the assets of a folder -> the SavedModel in it. Wants Keras on TensorFlow."""
    from fatk import runtime

    runtime.quiet_tensorflow()
    import keras

    from fatk.serving import ServedEnsemble
    from fatk.serving_ensemble import Ensemble
    from fatk.serving_member import Member
    from models import networks

    if keras.backend.backend() != "tensorflow":
        raise RuntimeError("the SavedModel is built with KERAS_BACKEND=tensorflow")
    plan = Plan.from_json(json.loads((folder / "plan.json").read_text(encoding="utf-8")))
    members = [
        Member(
            networks.load(member.run.network),
            member.config.features,
            member.config.evaluate,
            member.config.domain,
            member.order,
        )
        for member in plan.members
    ]
    ensemble = Ensemble(members, plan.mean, plan.crops, plan.jitter)
    assets = sorted((folder / "assets").iterdir())
    ServedEnsemble(ensemble, plan.members[0].classes, assets).save(folder / "saved_model")


def verify(folder: Path) -> float:
    """-> the largest difference of a probability between a folder's SavedModel and what is expected.

    Batches of one and of seven, where the clip stands among strangers: its answer must not change.
    """
    from fatk.tagger import SavedTagger

    with np.load(folder / "expected.npz") as arrays:
        wanted = arrays["probabilities"]
        clips = [arrays[f"clip{number}"] for number in range(len(wanted))]
    tagger = SavedTagger(folder / "saved_model")
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


def make(plan: Plan, assets: dict[str, str], target: Path) -> float:
    """Build, load again in a fresh process, compare, and put in place -> the largest difference.

    `assets`: {name: text} that travels with the model. Raises `RuntimeError` where a step fails or the
    difference is beyond `TOLERANCE`; an earlier SavedModel stays where it was.
    """
    clips = probes(plan.rate)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="export-") as name:
        folder = Path(name)
        lay_out(plan, assets, folder)
        np.savez(
            folder / "expected.npz",
            probabilities=expected(plan, clips),
            **{f"clip{number}": clip for number, clip in enumerate(clips)},  # type: ignore[arg-type]
        )
        _fresh("tensorflow", "build", folder)
        difference = float(_fresh("tensorflow", "verify", folder).split()[-1])
        if not difference <= TOLERANCE:
            raise RuntimeError(
                f"the SavedModel's probabilities are off by {difference:.2g}, over {TOLERANCE:g}"
            )
        if target.exists():
            shutil.rmtree(target)
        os.replace(folder / "saved_model", target)
    return difference


def export(run: folders.Run) -> float:
    """A run's network -> its SavedModel, as `make` does, and its card -> the largest difference."""
    members = read_members([run.folder])
    scores = {"members": [members[0].told()]}
    assets = {
        "config.toml": run.config.read_text(encoding="utf-8"),
        "scores.json": json.dumps(scores, indent=1, ensure_ascii=False) + "\n",
    }
    difference = make(Plan(members), assets, run.saved_model)
    decide.carry(run)
    card.write_card(run)
    return difference


def _fresh(backend: str, step: str, folder: Path) -> str:
    """Run a step of this module in a process of its own -> what it printed."""
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "fatk.export", step, str(folder.resolve())],
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
        build(Path(arguments[1]))
        return 0
    if arguments[:1] == ["verify"]:
        print(verify(Path(arguments[1])))
        return 0
    parser = cli.parser("fatk.export", __doc__)
    parser.add_argument("--run", required=True, metavar="DIR", help="a run's folder, as runs/demo")
    run = folders.Run(Path(parser.parse_args(arguments).run))
    difference = export(run)
    cli.say(f"{run.saved_model}: differs from the Keras model by {difference:.1e} at most")
    return 0


if __name__ == "__main__":
    cli.run(main)
