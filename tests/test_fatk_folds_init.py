"""Runs of one cross-validation begin from the same weights, wherever their file lies."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import keras
import pytest

from fatk import crossval, trainer
from fatk.config import load_config
from fatk.train import train
from tests.small_runs import quick, write_beeps

pytestmark = pytest.mark.slow

PLAIN = ["mixing.kind=none", "train.keep=last", "split.kind=kfold", "split.count=2"]


@pytest.fixture(scope="module", autouse=True)
def quickly() -> Iterator[None]:
    with quick():
        yield


@pytest.fixture
def beeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config, and `init.keras` and `other.keras` beside it, of other weights."""
    monkeypatch.chdir(tmp_path)
    path = write_beeps(tmp_path, "[[stage]]\nepochs = 1\n")
    table = tmp_path / "t.csv"  # folds are drawn: none is held out by the table
    table.write_text("".join(line.rpartition(",")[0] + "\n" for line in table.read_text().splitlines()))
    for seed, name in enumerate(("init", "other")):
        own = load_config(path, [*PLAIN, f"name={name}", f"seed={seed}"])
        shutil.copy(train(own).run.network, f"{name}.keras")
    return path


def test_the_weights_that_runs_begin_from_are_known_by_what_they_are(
    beeps: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    go = trainer.Trainer.go

    def noted(self: trainer.Trainer, **asked: bool) -> object:
        started.append(self.run.folder.name)
        return go(self, **asked)

    monkeypatch.setattr(trainer.Trainer, "go", noted)

    def crossed(init: str) -> tuple[list[str], str]:
        """-> (runs that were trained for it, what was said)."""
        started.clear()
        capsys.readouterr()
        assert crossval.main(["--config", str(beeps), *PLAIN, f"train.init={init}", "--seeds", "1"]) == 0
        return list(started), " ".join(capsys.readouterr().out.split())

    both = ["seed3-fold0", "seed3-fold1"]
    runs = [beeps.parent / "runs" / "beeps-crossval" / name for name in both]
    assert crossed("init.keras")[0] == both

    # At another path, and written again, as Keras writes what was loaded.
    keras.saving.load_model("init.keras", compile=False).save("moved.keras")
    assert Path("moved.keras").read_bytes() != Path("init.keras").read_bytes()
    assert crossed("moved.keras")[0] == []
    assert load_config(runs[0] / "config.toml").train.init == str(beeps.parent / "moved.keras")

    # A run of before such notes stays, as long as the path does.
    text = (runs[0] / "config.toml").read_text()
    assert text.count("\n# init: ") == 1
    (runs[0] / "config.toml").write_text(text.partition("\n# init: ")[0] + "\n")
    assert crossed("moved.keras")[0] == []
    assert (runs[0] / "config.toml").read_text() == text

    # Results are told without the file, and it is still known what it held.
    Path("moved.keras").unlink()
    assert crossed("moved.keras")[0] == []
    assert (runs[0] / "config.toml").read_text() == text

    # Other weights under the name: the rest of the runs would not be like those that are finished.
    shutil.rmtree(runs[1])
    shutil.copy("other.keras", "moved.keras")
    trained, said = crossed("moved.keras")
    assert trained == both
    assert "seed 3, fold 0: `train.init` held other weights; what was finished is now" in said
    assert (runs[0].parent / "before" / both[0] / "best.keras").exists()

    # Of what it held before, moved: known by the weights, not by the name.
    shutil.copy("init.keras", "elsewhere.keras")
    assert "`train.init` held other weights" in crossed("elsewhere.keras")[1]
