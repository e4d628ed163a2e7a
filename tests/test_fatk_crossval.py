"""Every fold is held out once for each seed, goes on where it was stopped, and the tables say what was seen."""

import csv
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile
from sklearn.metrics import label_ranking_average_precision_score

from fatk import cli, crossval, runtime, trainer

pytestmark = pytest.mark.slow

RATE, CLIPS, FOLDS = 8000, 18, (1, 2, 5)


def flat_trunk(image: keras.KerasTensor) -> keras.KerasTensor:
    return keras.layers.Conv2D(8, (16, 3), (1, 2), activation="relu", name="block1_conv")(image)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Beeps in three folds, numbered with a gap, as tables of published sets may be."""
    (tmp_path / "clips").mkdir()
    rows = []
    for n in range(CLIPS):
        time = np.arange(RATE) / RATE
        soundfile.write(
            tmp_path / "clips" / f"{n:02d}.wav",
            0.3 * np.sin(2 * np.pi * (400 + 1500 * (n % 2) + n) * time),
            RATE,
        )
        rows.append((f"{n:02d}.wav", ("low", "high")[n % 2], FOLDS[n // 6]))
    with (tmp_path / "t.csv").open("w", newline="") as out:
        csv.writer(out).writerows([("fname", "labels", "fold"), *rows])
    (tmp_path / "beeps.toml").write_text(
        'seed = 3\n[data]\nkind = "csv"\npath = "clips"\ntable = "t.csv"\nfold = 1\n'
        f"[features]\nrate = {RATE}\nbands = 16\n"
        '[mixing]\nkind = "none"\n[train]\nbatch = 6\nkeep = "last"\n[evaluate]\ncrops = 2\nbatch = 6\n'
        "[log]\nimages = 1\nclips = 1\n[[stage]]\nepochs = 2\nrate = 1e-2\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(trainer.networks.TRUNKS, "specgram", flat_trunk)
    monkeypatch.setattr(runtime, "start", lambda config: keras.utils.set_random_seed(config.seed))
    return tmp_path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_folds_and_seeds(place: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["--config", "beeps.toml", "--seeds", "2"]
    train = trainer.Trainer.go
    started: list[str] = []

    def stopping(self: trainer.Trainer, exported: bool = True) -> object:
        """The user stops the second run; then nobody does."""
        started.append(self.run.folder.name)
        if len(started) == 2:
            raise KeyboardInterrupt
        return train(self, exported)

    monkeypatch.setattr(trainer.Trainer, "go", stopping)
    with pytest.raises(KeyboardInterrupt):
        crossval.main(command)
    assert crossval.main(command) == 0
    names = [f"seed{seed}-fold{fold}" for seed in (3, 4) for fold in FOLDS]
    assert started == [names[0], *names[1:2], *names[1:]]  # the finished one is not trained again
    folder = place / "runs" / "beeps-crossval"

    for seed in (3, 4):
        table = rows(folder / f"seed{seed}.csv")
        assert [row["fname"] for row in table] == [f"{n:02d}.wav" for n in range(CLIPS)]
        for number, fold in enumerate(FOLDS):
            own = rows(folder / f"seed{seed}-fold{fold}" / "predictions.csv")
            assert own == table[6 * number : 6 * number + 6]
            trained = {
                row["fname"]
                for row in rows(folder / f"seed{seed}-fold{fold}" / "splits.csv")
                if row["split"] == "train"
            }
            assert len(trained) == 12
            assert not trained & {row["fname"] for row in own}
    truth = np.array([[1 - n % 2, n % 2] for n in range(CLIPS)])
    chances = np.array([[float(row["low"]), float(row["high"])] for row in rows(folder / "seed4.csv")])
    told = rows(folder / "crossval.csv")
    assert [row["held out"] for row in told] == ["fold 1", "fold 2", "fold 5", "all clips"]
    outside = label_ranking_average_precision_score(truth, chances)
    assert float(told[-1]["lwlrap, seed 4"]) == pytest.approx(outside, abs=1e-4)
    right = (chances.argmax(1) == truth.argmax(1)).mean()
    assert float(told[-1]["accuracy, seed 4"]) == pytest.approx(right, abs=1e-4)
    assert "± " in capsys.readouterr().out


def test_a_config_without_folds_is_refused(place: Path) -> None:
    text = (place / "beeps.toml").read_text().replace("fold = 1\n", "")
    (place / "plain.toml").write_text(text)
    with pytest.raises(cli.UserError, match=r"must name a fold .* `split\.kind` to 'kfold'"):
        crossval.main(["--config", "plain.toml"])
