"""An audit finds the labels that were swapped, goes on where it was stopped, and its table can be applied."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fatk import audit, cli, scoring, trainer
from fatk.config import load_config
from fatk.prepare import prepare
from pipelines.sources import CURATED, NOISY, Clip
from tests import swapped_beeps
from tests.swapped_beeps import SWAPPED

pytestmark = pytest.mark.slow


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return swapped_beeps.make(tmp_path, monkeypatch)


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

    def go(self: trainer.Trainer, **asked: bool) -> trainer.Outcome:
        split, source = self.feeds.prepared.split, self.feeds.prepared.source
        seen.append({clip.key for clip in (*split.train, *split.valid, *source.clips)})
        return went(self, **asked)

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


def listening(monkeypatch: pytest.MonkeyPatch) -> list[tuple[set[str], set[str], set[str]]]:
    """-> of each network, which trains nothing: what would train it, what it judges, and what else it is given."""
    seen: list[tuple[set[str], set[str], set[str]]] = []

    def go(self: trainer.Trainer, **asked: bool) -> trainer.Outcome:
        split, classes = self.feeds.prepared.split, self.feeds.prepared.classes
        held = {clip.key for clip in split.valid}
        rest = [clip for clip in self.feeds.prepared.source.pool(CURATED, NOISY) if clip.key not in held]
        seen.append(tuple({_sort(clip) for clip in clips} for clips in (split.train, split.valid, rest)))
        names = [clip.name for clip in split.valid]
        chances = np.full((len(names), len(classes)), 0.5)
        scoring.write_predictions(self.run.predictions, names, classes, chances)
        return trainer.Outcome(self.run, {}, False)

    monkeypatch.setattr(trainer.Trainer, "go", go)
    return seen


def _sort(clip: Clip) -> str:
    return clip.pool if clip.pool == CURATED else f"{clip.pool} {','.join(clip.labels)}"


EVERY = {CURATED, "noisy low", "noisy high"}
QUICKLY = ["--folds", "2", "--rounds", "1", "--out", "found.csv", "stage.0.epochs=1", "train.batch=4"]


@pytest.mark.parametrize(
    ("given", "train", "judged", "table"),
    [
        (["data.noisy=false"], {CURATED}, {CURATED}, CURATED),
        (["data.noisy=false", "--pool", "noisy"], {CURATED}, EVERY, NOISY),
        (
            ["select.noisy=usable", 'select.ng=["high"]'],
            {CURATED, "noisy low"},
            {CURATED, "noisy low"},
            NOISY,
        ),
    ],
)
def test_what_a_config_leaves_out_takes_no_part(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: list[str],
    train: set[str],
    judged: set[str],
    table: str,
) -> None:
    seen = listening(monkeypatch)
    assert audit.main(["--config", "beeps.toml", *QUICKLY, *given]) == 0
    assert seen == [(train, judged, train)] * 2
    with (place / "found.csv").open(newline="") as lines:
        names = {row["fname"] for row in csv.DictReader(lines)}
    clips = prepare(load_config("beeps.toml"), verbose=False).source.pool(table)
    assert names == {clip.name for clip in clips if _sort(clip) in judged}


def test_pools_that_do_not_train_are_judged_where_asked_for(place: Path) -> None:
    source = prepare(load_config("beeps.toml"), verbose=False).source

    def sorts(*overrides: str, asked: Sequence[str] = ()) -> set[str]:
        config = load_config("beeps.toml", overrides)
        return {_sort(clip) for clip in audit.taking_part(config, source, asked)}

    assert sorts() == sorts("select.noisy=fill") == EVERY
    assert sorts("split.train=curated") == {CURATED}
    assert sorts("split.train=noisy") == EVERY - {CURATED}
    assert sorts("split.train=noisy", asked=[CURATED]) == EVERY
    fill = ("select.noisy=fill", 'select.ok=["high"]')
    assert sorts(*fill, "data.noisy=false", asked=[NOISY]) == {CURATED, "noisy high"}
    curated = replace(source, clips=source.pool(CURATED))
    assert len(audit.taking_part(load_config("beeps.toml"), curated, (CURATED, NOISY))) == len(curated.clips)
    with pytest.raises(cli.UserError, match="--pool: there is no noisy clip to judge"):
        sorts("select.noisy=usable", 'select.ng=["low", "high"]', asked=[NOISY])


def test_no_network_begins_from_what_has_heard_the_labels(place: Path, capsys: pytest.CaptureFixture) -> None:
    """And the shards are found where the config does not say where they lie."""
    command = ["--config", "beeps.toml", *QUICKLY, "train.init=gone", "data.records="]
    assert audit.main(command) == 0  # it is not even looked for
    assert capsys.readouterr().out.count("`train.init` is not heeded") == 1
    assert [path.name for path in Path("records").iterdir()] == ["beeps"]
    for run in sorted(Path("runs/beeps-audit").glob("round*")):
        assert load_config(run / "config.toml").train.init == ""
    with pytest.raises(cli.UserError, match=r"an audit trains from scratch.* Give stage\.0\.freeze=false\."):
        audit.main([*command, "stage.0.freeze=true"])


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
