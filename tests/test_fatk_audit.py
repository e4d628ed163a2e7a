"""An audit finds the labels that were swapped, goes on where it was stopped, and its table can be applied."""

import csv
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile

from fatk import audit, cli, runtime, trainer
from fatk.config import load_config
from fatk.prepare import prepare
from pipelines.sources import CURATED, NOISY, Clip

pytestmark = pytest.mark.slow

RATE, SWAPPED = 8000, ("06.wav", "13.wav", "20.wav", "31.wav")


def wide_trunk(image: keras.KerasTensor) -> keras.KerasTensor:
    """One convolution that sees all bands at once, and so where a beep is among them."""
    return keras.layers.Conv2D(8, (16, 3), (1, 2), activation="relu", name="block1_conv")(image)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Forty beeps, low or high, curated and noisy; four of the noisy ones under the other's name."""
    for pool in ("curated", "noisy"):
        (tmp_path / "set" / f"train_{pool}").mkdir(parents=True)
    (tmp_path / "set" / "test").mkdir()
    tables: dict[str, list[tuple[str, str]]] = {"curated": [], "noisy": []}
    draw = np.random.default_rng(0)
    for n in range(40):
        high, pool, name = n % 2, "curated" if n % 4 < 2 else "noisy", f"{n:02d}.wav"
        if name in SWAPPED:
            pool = "noisy"
        time = np.arange(RATE + 50 * n) / RATE
        tone = np.sin(2 * np.pi * ((2200 if high else 400) + 5 * n) * time)
        sound = 0.3 * tone + 0.02 * draw.standard_normal(len(time))
        soundfile.write(tmp_path / "set" / f"train_{pool}" / name, sound, RATE)
        tables[pool].append((name, ("low", "high")[high != (name in SWAPPED)]))
    soundfile.write(tmp_path / "set" / "test" / "t.wav", sound, RATE)
    for pool, rows in tables.items():
        with (tmp_path / "set" / f"train_{pool}.csv").open("w", newline="") as out:
            csv.writer(out).writerows([("fname", "labels"), *rows])
    (tmp_path / "set" / "sample_submission.csv").write_text("fname,low,high\nt.wav,0,0\n")
    (tmp_path / "beeps.toml").write_text(
        'seed = 3\n[data]\nkind = "fat2019"\npath = "set"\nrecords = "records"\n'
        f"[features]\nrate = {RATE}\nbands = 16\n[augment]\ncutout = false\n"
        '[mixing]\nkind = "none"\n[train]\nbatch = 8\n[evaluate]\ncrops = 2\nbatch = 5\n'
        "[log]\nimages = 1\nclips = 1\n[[stage]]\nepochs = 24\nrate = 1e-2\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(trainer.networks.TRUNKS, "specgram", wide_trunk)
    monkeypatch.setattr(runtime, "start", lambda config: keras.utils.set_random_seed(config.seed))
    return tmp_path


def test_swapped_labels_come_first(
    place: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["--config", "beeps.toml", "--folds", "2", "--out", "found.csv"]
    assert audit.main(command) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "round 2, fold 2 of 2" in told
    with (place / "found.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert list(rows[0]) == ["fname", "score", "suggested_labels"]
    noisy = {path.name for path in (place / "set" / "train_noisy").iterdir()}
    assert {row["fname"] for row in rows} == noisy  # every noisy clip, and no curated one
    assert {row["fname"] for row in rows[:4]} == set(SWAPPED)
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    truth = {name: ("low", "high")[int(name[:2]) % 2] for name in SWAPPED}
    suggested = {row["fname"]: tuple(row["suggested_labels"].split(",")) for row in rows[:4]}
    assert all(truth[name] in labels for name, labels in suggested.items())

    # Finished folds are not trained again, and the table comes out the same.
    before = (place / "found.csv").read_text()
    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "go", None)
        assert audit.main([*command, "--pool", "both"]) == 0
        assert "fold 1 of 2" not in capsys.readouterr().out
        both = (place / "found.csv").read_text().splitlines()
        assert len(both) == 41
        assert audit.main(command) == 0
        assert (place / "found.csv").read_text() == before

    # What it found is applied and dropped by the settings that it names.
    overrides = ["data.relabel=found.csv", f"labels.relabel_share={4 / len(noisy)}"]
    for how in ("apply", "drop"):
        split = prepare(load_config("beeps.toml", [*overrides, f"labels.relabel={how}"])).split
        labels = {clip.name: clip.labels for clip in (*split.train, *split.valid)}
        assert [labels.get(name) for name in SWAPPED] == [
            suggested[name] if how == "apply" else None for name in SWAPPED
        ]


def test_held_out_clips_may_be_kept_out(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config("beeps.toml")
    held = {clip.key for clip in prepare(config).split.valid}
    assert held
    seen: list[set[str]] = []
    went = trainer.Trainer.go

    def go(self: trainer.Trainer, exported: bool = True) -> trainer.Outcome:
        split, source = self.feeds.prepared.split, self.feeds.prepared.source
        seen.append({clip.key for clip in (*split.train, *split.valid, *source.clips)})
        return went(self, exported)

    monkeypatch.setattr(trainer.Trainer, "go", go)
    short = ["--folds", "2", "--rounds", "1", "--pool", "both", "--out", "both.csv", "stage.0.epochs=1"]

    def judged() -> set[str]:
        with (place / "both.csv").open(newline="") as lines:
            return {row["fname"] for row in csv.DictReader(lines)}

    assert audit.main(["--config", "beeps.toml", *short, "--without-valid"]) == 0
    assert len(seen) == 2
    assert not held & set.union(*seen)
    names = {Path(key).name for key in held}
    assert len(judged()) == 40 - len(held)
    assert not names & judged()
    # The same folders are not taken for those of all clips.
    assert audit.main(["--config", "beeps.toml", *short]) == 0
    assert len(seen) == 4
    assert names < judged()


@pytest.mark.parametrize(
    ("argument", "value", "wanted"),
    [("--folds", "1", "at least 2"), ("--rounds", "0", "at least 1"), ("--share", "2", "from 0 to 1")],
)
def test_what_cannot_be_is_refused(place: Path, argument: str, value: str, wanted: str) -> None:
    with pytest.raises(cli.UserError, match=rf"{argument} must be {wanted}"):
        audit.main(["--config", "beeps.toml", argument, value])


def test_doubtful_are_the_most_suspicious_noisy_clips() -> None:
    clips = [Clip(f"{n}.wav", CURATED if n == 0 else NOISY, Path()) for n in range(5)]
    suspicion = np.array([0.99, 0.1, 0.8, 0.3, 0.7])
    assert audit.doubtful(clips, suspicion, 0.5) == {clips[2].key, clips[4].key}
    assert audit.doubtful(clips, suspicion, 0) == frozenset()
