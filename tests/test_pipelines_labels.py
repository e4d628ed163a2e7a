"""Targets of clips: hard, soft by co-occurrence, and what an audit's table makes of labels."""

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from pipelines.label_settings import LabelSettings
from pipelines.labels import cooccurrence, multi_hot, read_audit, relabel, soften, targets_of
from pipelines.settings import DataSettings
from pipelines.sources import CURATED, NOISY, TEST, Clip, DataError, Source, read_source

CLASSES = ("A", "B", "C", "D")
steady = settings(deadline=None, database=None)  # a busy machine is no failure


def clips_of(labels: Iterable[Sequence[str]], pool: str = CURATED) -> tuple[Clip, ...]:
    return tuple(Clip(f"{n}.wav", pool, Path(f"{n}.wav"), tuple(own)) for n, own in enumerate(labels))


def soft(curated: Iterable[str], wanted: Iterable[str], temperature: float = 1.0) -> np.ndarray:
    """Classes are letters: 'AB' is a clip with A and B."""
    return targets_of(
        clips_of(wanted), CLASSES, clips_of(curated), LabelSettings(soft=True, temperature=temperature)
    )


# A stands in three clips, twice with B; B only with A; C alone; D nowhere.
WORKED = ("A", "AB", "AB", "C")


def test_hard_targets() -> None:
    assert_array_equal(
        multi_hot(clips_of(("AC", "", "D")), CLASSES), [[1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
    )
    assert multi_hot((), CLASSES).shape == (0, 4)
    assert multi_hot(clips_of(("A",)), CLASSES).dtype == np.float32


def test_counts_of_classes_that_go_together() -> None:
    counts = cooccurrence(multi_hot(clips_of(WORKED), CLASSES))
    assert_array_equal(counts, [[3, 2, 0, 0], [2, 2, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]])


def test_soft_labels_of_a_hand_worked_table() -> None:
    """P's rows: A 3/5, 2/5; B 1/2, 1/2; C and D themselves."""
    made = soft(WORKED, ("A", "B", "AB", "C", "D", "AC", "BC", ""))
    assert_allclose(
        made,
        [
            [1, 2 / 3, 0, 0],
            [1, 1, 0, 0],
            [1, 9 / 11, 0, 0],  # 3/5 + 1/2 and 2/5 + 1/2
            [0, 0, 1, 0],
            [0, 0, 0, 1],
            [3 / 5, 2 / 5, 1, 0],
            [1 / 2, 1 / 2, 1, 0],
            [0, 0, 0, 0],
        ],
        rtol=1e-6,
    )
    assert made.dtype == np.float32


def test_temperature_of_a_hand_worked_table() -> None:
    """T = 2 takes roots of the counts, T = 1/2 squares them: 9 and 4 of 13."""
    root = np.sqrt([3, 2]) / np.sqrt([3, 2]).sum()
    assert_allclose(soft(WORKED, ("A", "AC"), 2.0), [[1, root[1] / root[0], 0, 0], [*root, 1, 0]], rtol=1e-6)
    assert_allclose(soft(WORKED, ("A", "AC"), 0.5), [[1, 4 / 9, 0, 0], [9 / 13, 4 / 13, 1, 0]], rtol=1e-6)


def test_a_low_temperature_gives_hard_labels_and_no_overflow() -> None:
    curated = ["A"] * 5000 + ["AB"] * 1000 + ["B"] * 5000
    assert_allclose(soft(curated, ("A", "B"), 0.01), [[1, 0, 0, 0], [0, 1, 0, 0]], atol=1e-12)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_soft_labels_of_a_real_table_follow_the_formula(shared: Path, temperature: float) -> None:
    """Loops over clips and classes, as REFERENCE writes it, against matrices."""
    source = read_source(DataSettings(kind="fat2019", path=str(shared / "fat10")))
    curated, classes = source.pool(CURATED), source.classes
    chance = {}
    for one in classes:
        counts = [sum(one in c.labels and other in c.labels for c in curated) for other in classes]
        powers = [count ** (1 / temperature) for count in counts]
        chance[one] = [power / sum(powers) for power in powers]
    wanted = []
    for clip in curated:
        row = [sum(chance[label][column] for label in clip.labels) for column in range(len(classes))]
        wanted.append([value / max(row) for value in row])
    made = targets_of(curated, classes, curated, LabelSettings(soft=True, temperature=temperature))
    assert_allclose(made, wanted, rtol=1e-5)
    assert (made > multi_hot(curated, classes)).any()


@steady
@given(
    st.lists(st.lists(st.sampled_from(CLASSES), unique=True), min_size=1, max_size=30),
    st.floats(0.1, 10),
)
def test_soft_labels_are_from_0_to_1_and_no_class_comes_from_nowhere(
    labels: list[list[str]], temperature: float
) -> None:
    clips = clips_of(labels)
    hard = multi_hot(clips, CLASSES)
    made = soften(hard, cooccurrence(hard), temperature)
    assert made.min() >= 0
    assert_allclose(made.max(axis=1), hard.max(axis=1, initial=0), rtol=1e-6)
    for clip, row in zip(clips, made, strict=True):
        if len(clip.labels) == 1:
            assert row[CLASSES.index(clip.labels[0])] == 1
        together = {other for c in clips if set(clip.labels) & set(c.labels) for other in c.labels}
        assert {name for name, value in zip(CLASSES, row, strict=True) if value} == together


def test_classes_that_never_go_together_stay_hard() -> None:
    assert_array_equal(soft(("A", "B", "C", "D"), ("A", "BC")), [[1, 0, 0, 0], [0, 1, 1, 0]])


def test_noisy_clips_keep_hard_labels_where_wanted() -> None:
    curated = clips_of(WORKED)
    clips = clips_of(("A",)) + clips_of(("A",), NOISY)
    kept = targets_of(clips, CLASSES, curated, LabelSettings(soft=True, soft_noisy=False))
    assert_allclose(kept, [[1, 2 / 3, 0, 0], [1, 0, 0, 0]], rtol=1e-6)
    both = targets_of(clips, CLASSES, curated, LabelSettings(soft=True))
    assert_array_equal(both[0], both[1])


def test_targets_are_hard_unless_soft_is_set() -> None:
    curated = clips_of(WORKED)
    assert_array_equal(targets_of(curated, CLASSES, curated, LabelSettings()), multi_hot(curated, CLASSES))


# Audits


def audit(folder: Path, *rows: Iterable[object], header: Sequence[str] = ()) -> Path:
    path = folder / "audit.csv"
    with path.open("w", newline="") as lines:
        csv.writer(lines).writerows([header or ("fname", "score", "suggested_labels"), *rows])
    return path


def suspected() -> Source:
    noisy = clips_of(("A", "B", "AB", "C", "D"), NOISY)
    return Source(
        CLASSES, (Clip("c.wav", CURATED, Path("c.wav"), ("A",)), *noisy, Clip("t", TEST, Path("t")))
    )


def labels_of(source: Source) -> dict[str, str]:
    return {clip.name: "".join(clip.labels) for clip in source.clips}


ROWS = (("3.wav", 0.2, "C"), ("0.wav", 0.9, "B"), ("1.wav", 0.8, "A,B"), ("2.wav", 0.1, ""))


def test_suspected_clips_are_dropped_by_share(tmp_path: Path) -> None:
    made = relabel(suspected(), audit(tmp_path, *ROWS), LabelSettings(relabel_share=0.5))
    assert labels_of(made) == {"c.wav": "A", "2.wav": "AB", "3.wav": "C", "4.wav": "D", "t": ""}
    assert made.notes[-1].endswith("2 of 4 clips are left out, 0 have other labels.")


def test_suspected_clips_are_dropped_by_score(tmp_path: Path) -> None:
    table = audit(tmp_path, *ROWS)
    dropped = {
        score: 5 - len(relabel(suspected(), table, LabelSettings(relabel_score=score)).pool(NOISY))
        for score in (0.95, 0.9, 0.5, 0.0)
    }
    assert dropped == {0.95: 0, 0.9: 1, 0.5: 2, 0.0: 4}


def test_suggested_labels_replace_the_given_ones(tmp_path: Path) -> None:
    how = LabelSettings(relabel="apply", relabel_share=1.0)
    made = relabel(suspected(), audit(tmp_path, *ROWS), how)
    # 2.wav has no suggestion and goes; 3.wav is what it was.
    assert labels_of(made) == {"c.wav": "A", "0.wav": "B", "1.wav": "AB", "3.wav": "C", "4.wav": "D", "t": ""}
    assert made.notes[-1].endswith("1 of 4 clips are left out, 2 have other labels.")


def test_an_audit_names_its_suspects_in_order(tmp_path: Path) -> None:
    suspects, strangers = read_audit(audit(tmp_path, *ROWS, ("x.wav", 1, "A")), suspected())
    assert [suspect.key for suspect in suspects] == [f"noisy/{n}.wav" for n in (0, 1, 3, 2)]
    assert strangers == 1


def test_rows_of_other_clips_are_noted(tmp_path: Path) -> None:
    made = relabel(suspected(), audit(tmp_path, *ROWS, ("x.wav", 1, "A"), ("t", 1, "A")), LabelSettings())
    assert made.notes[-1].endswith("2 rows name no training clip of the set.")
    with pytest.raises(DataError, match="none of its 1 rows names a training clip"):
        relabel(suspected(), audit(tmp_path, ("x.wav", 1, "A")), LabelSettings())


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("0.wav", "high", "A"), "line 2: `score` must be a number. Received: 'high'."),
        (("0.wav", "nan", "A"), "line 2: `score` must be a number. Received: 'nan'."),
        (("0.wav", 1, "E"), "line 2: 0.wav has the unknown class 'E'."),
        (("../0.wav", 1, "A"), "line 2: `fname` must name a file inside"),
    ],
)
def test_a_wrong_row_is_named_with_its_line(tmp_path: Path, row: tuple, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        relabel(suspected(), audit(tmp_path, row), LabelSettings())


def test_a_clip_that_stands_twice_in_an_audit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 3: 0\.wav stands already in line 2"):
        relabel(suspected(), audit(tmp_path, ("0.wav", 1, "A"), ("0.wav", 2, "A")), LabelSettings())


def test_a_name_in_two_pools_needs_a_pool(tmp_path: Path) -> None:
    source = suspected()
    source = Source(CLASSES, (*source.clips, Clip("0.wav", CURATED, Path("0.wav"), ("C",))))
    with pytest.raises(DataError, match="a column `pool` must say which is meant"):
        relabel(source, audit(tmp_path, *ROWS), LabelSettings())
    header = ("fname", "score", "suggested_labels", "pool")
    table = audit(tmp_path, ("0.wav", 1, "B", "curated"), header=header)
    made = relabel(source, table, LabelSettings(relabel_score=1.0))
    assert [clip.key for clip in made.clips if clip.name == "0.wav"] == ["noisy/0.wav"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"temperature": 0.0}, "`temperature` must be from 0.01 to 100. Received: 0.0."),
        ({"relabel_share": 1.5}, "`relabel_share` must be from 0 to 1. Received: 1.5."),
        ({"relabel_score": float("nan")}, "`relabel_score` must be a finite number. Received: nan."),
        ({"relabel_score": float("inf")}, "`relabel_score` must be a finite number. Received: inf."),
    ],
)
def test_settings_that_cannot_be(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        LabelSettings(**wrong)
