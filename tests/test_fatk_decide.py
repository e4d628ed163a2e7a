"""Thresholds, calibration, and the files and labels that come of them."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fatk import calibration, cli, decide, folders, held, scoring, thresholds

CLASSES = ("Bark", "Rain", "Siren", "Never")


def run_of(folder: Path, truth: np.ndarray, chances: np.ndarray) -> folders.Run:
    """A run's tables, as training leaves them."""
    run = folders.Run(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{number:03d}.wav" for number in range(len(truth))]
    run.classes.write_text("\n".join(CLASSES) + "\n")
    order = [2, 0, 3, 1]  # the columns may stand in another order
    scoring.write_predictions(run.predictions, names, [CLASSES[n] for n in order], chances[:, order])
    labels = [",".join(name for name, there in zip(CLASSES, row, strict=True) if there) for row in truth]
    rows = [(name, "curated", "valid", label) for name, label in zip(names, labels, strict=True)]
    folders.write_rows(
        run.splits, ("fname", "pool", "split", "labels"), [*rows, ("x", "noisy", "train", "Bark")]
    )
    return run


@pytest.fixture
def made() -> tuple[np.ndarray, np.ndarray]:
    """(clips, classes) 0/1 and probabilities: too sure of themselves by a factor of 3; no clip of the last."""
    draw = np.random.default_rng(0)
    logits = draw.normal(-1, 1.5, (400, 4))
    truth = (draw.uniform(size=logits.shape) < 1 / (1 + np.exp(-logits))).astype(float)
    truth[:, 3] = 0
    truth[:3] = np.eye(4)[:3]
    return truth, np.round(1 / (1 + np.exp(-3 * logits)), 6)


SCORED = st.lists(st.tuples(st.booleans(), st.integers(1, 9)), min_size=2, max_size=25).filter(
    lambda rows: any(truth for truth, _ in rows)
)


def told_of(rows: list[tuple[bool, int]], threshold: float) -> tuple[float, float, float]:
    """-> precision, recall, F1, counted one by one."""
    hits = sum(truth and score / 10 >= threshold for truth, score in rows)
    tagged = sum(score / 10 >= threshold for _, score in rows)
    positives = sum(truth for truth, _ in rows)
    return hits / tagged if tagged else 1.0, hits / positives, 2 * hits / (tagged + positives)


@given(SCORED)
@settings(max_examples=60, deadline=None)
def test_no_threshold_has_a_better_f1(rows: list[tuple[bool, int]]) -> None:
    truth, chances = np.array([t for t, _ in rows]), np.array([s / 10 for _, s in rows])
    found = thresholds.choose(truth[:, None], chances[:, None])[0]
    tried = [told_of(rows, step / 100)[2] for step in range(100)]
    assert told_of(rows, found.value)[2] == pytest.approx(max(tried))
    assert (found.precision, found.recall, found.f1) == pytest.approx(told_of(rows, found.value))


@given(SCORED, st.sampled_from([0.5, 0.75, 0.9, 1.0]))
@settings(max_examples=60, deadline=None)
def test_the_precision_is_kept_with_the_most_recall(rows: list[tuple[bool, int]], asked: float) -> None:
    truth, chances = np.array([t for t, _ in rows]), np.array([s / 10 for _, s in rows])
    found = thresholds.choose(truth[:, None], chances[:, None], asked)[0]
    kept = [told_of(rows, step / 100) for step in range(100)]
    best = max((recall for precision, recall, _ in kept if precision >= asked), default=0.0)
    precision, recall, _ = told_of(rows, found.value)
    assert recall == pytest.approx(best)
    if best:
        assert precision >= asked - 1e-9
    else:
        assert found.note == f"no threshold reaches {asked:g}"
        assert not (chances >= found.value).any()


def test_thresholds_that_are_kept_do_what_is_told_of_them(tmp_path: Path) -> None:
    """Scores of a sure network lie closer together than any rounding."""
    truth = np.zeros((6, len(CLASSES)), int)
    chances = np.full((6, len(CLASSES)), 0.5)
    truth[:, 0] = [1, 1, 0, 0, 0, 0]
    chances[:, 0] = [4e-10, 3e-10, 1e-10, 1e-10, 1e-11, 1e-12]
    truth[:, 1] = [0, 1, 0, 1, 0, 0]
    chances[:, 1] = np.float32([1.0, 1.0, 0.9999999, 0.9999999, 0.5, 0.5])  # no threshold is right
    run = run_of(tmp_path, truth, chances)
    told = decide.decide(run, precision=0.9)
    assert told["classes"][0]["recall"] == 1
    assert told["classes"][1]["note"] == "no threshold reaches 0.9"
    tags = decide.Decisions(run.folder, CLASSES).tags(chances)
    np.testing.assert_array_equal(tags[:, 0], truth[:, 0] > 0)
    assert not tags[:, 1].any()


def test_a_class_without_positives_takes_the_threshold_of_all() -> None:
    truth = np.array([[1, 0], [1, 0], [0, 0], [0, 0]])
    chances = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.1], [0.2, 0.05]])
    first, second = thresholds.choose(truth, chances)
    assert first.value == second.value == pytest.approx(0.55)
    assert first.note == ""
    assert second.positives == 0
    assert "no positives" in second.note


def test_the_temperature_is_found_again(made: tuple[np.ndarray, np.ndarray]) -> None:
    truth, chances = made[0][:, :3], made[1][:, :3]
    found = calibration.fit(truth, chances)
    assert found == pytest.approx(3, rel=0.12)  # that many clips tell it so well
    tried = [calibration.nll(truth, chances, step) for step in np.geomspace(0.05, 20, 200)]
    assert calibration.nll(truth, chances, found) <= min(tried)
    after = calibration.apply(chances, found)
    assert calibration.ece(truth, after) < 0.4 * calibration.ece(truth, chances)
    np.testing.assert_array_equal(np.argsort(after[:, 0]), np.argsort(chances[:, 0]))
    np.testing.assert_array_equal(calibration.apply(chances, 1), chances)
    assert np.isfinite(calibration.apply(np.array([0.0, 1.0]), 0.05)).all()


def test_the_calibration_error_by_hand() -> None:
    truth, chances = np.array([[1, 0, 1, 0]]), np.array([[0.95, 0.95, 0.55, 0.05]])
    # Bins 9 (half of two true, 0.95 said), 5 (one of one, 0.55) and 0 (none of one, 0.05).
    assert calibration.ece(truth, chances) == pytest.approx((2 * 0.45 + 0.45 + 0.05) / 4)
    mean, share, count = calibration.reliability(truth, np.ones((1, 4)))
    assert (mean[9], share[9], count[9]) == (1.0, 0.5, 4)


def test_held_out_clips_are_read_by_name(made: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    truth, chances = made
    found = held.read(run_of(tmp_path, truth, chances))
    assert found.classes == CLASSES
    np.testing.assert_array_equal(found.truth, truth)
    np.testing.assert_allclose(found.chances, chances, atol=1e-6)


def test_what_is_kept_gives_the_labels(made: tuple[np.ndarray, np.ndarray], tmp_path: Path, capsys) -> None:
    run = run_of(tmp_path / "run", *made)
    (run.saved_model / "assets.extra").mkdir(parents=True)
    assert decide.main(["--run", str(run.folder), "--precision", "0.9", "--temperature", "fit"]) == 0
    shown = capsys.readouterr().out
    assert "400 validation clips" in shown
    assert "calibration error" in shown
    path = run.folder / "decisions.json"
    told = json.loads(path.read_text())
    assert path.read_text() == (run.saved_model / "assets.extra" / "decisions.json").read_text()
    assert told["rule"] == "precision"
    assert told["temperature"] == pytest.approx(3, rel=0.15)
    assert told["calibration"]["after"]["nll"] < told["calibration"]["before"]["nll"]
    for place in (run.folder, run.saved_model):
        tags = decide.Decisions(place, CLASSES).tags(made[1])
        for number, row in enumerate(told["classes"]):
            hit = made[0][tags[:, number], number]
            assert row["class"] == CLASSES[number]
            if row["positives"]:
                assert hit.mean() == pytest.approx(row["precision"], abs=1e-4)
                assert hit.mean() >= 0.9
    swapped = decide.Decisions(run.folder, CLASSES[::-1]).tags(made[1][:, ::-1])
    np.testing.assert_array_equal(swapped, tags[:, ::-1])
    with Image.open(run.folder / "reliability.png") as drawn:
        assert min(drawn.size) > 300
        assert len(set(drawn.convert("RGB").resize((60, 60)).get_flattened_data())) > 10


def test_decisions_of_another_run_are_not_taken(made: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", *made)
    decide.decide(run)
    (run.folder / "export").mkdir()
    assert decide.find(run.folder / "export") is None
    assert decide.find(run.saved_model) == run.folder / "decisions.json"
    with pytest.raises(cli.UserError, match="no threshold of the class 'Wind'"):
        decide.Decisions(run.folder, ("Wind",))
    with pytest.raises(cli.UserError, match=r"no thresholds .*python -m fatk\.decide"):
        decide.Decisions(tmp_path, CLASSES)
    (run.folder / "decisions.json").write_text("[]")
    with pytest.raises(cli.UserError, match=r"decisions\.json: not a file of fatk\.decide"):
        decide.Decisions(run.folder, CLASSES)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--precision", "1.5"], "--precision must be above 0 and at most 1. Received: 1.5."),
        (["--temperature", "warm"], "--temperature must be 'fit' or a number above 0. Received: 'warm'."),
        (["--temperature", "-1"], "--temperature must be 'fit' or a number above 0. Received: '-1'."),
    ],
)
def test_wrong_arguments(given: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(cli.UserError) as caught:
        decide.main(["--run", str(tmp_path), *given])
    assert str(caught.value) == said


def test_tables_that_do_not_fit(made: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    with pytest.raises(cli.UserError, match=r"predictions\.csv: the validation scores are needed"):
        decide.decide(folders.Run(tmp_path / "none"))
    run = run_of(tmp_path, *made)
    lines = run.splits.read_text().splitlines()
    run.splits.write_text("\n".join(lines[:3]) + "\n")
    with pytest.raises(cli.UserError, match=r"no labels of the validation clip 002\.wav"):
        decide.decide(run)
    run.classes.write_text("Bark\nRain\n")
    with pytest.raises(cli.UserError, match="its columns are not the classes"):
        decide.decide(run)
