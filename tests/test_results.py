"""The tables of results are what the kept predictions give, figure for figure, and nothing else."""

import json
import re
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, label_ranking_average_precision_score

from fatk import cli, kept, results, results_pictures, results_tables, scoring
from fatk.config import ConfigError, load_config, read_toml
from fatk.results_figures import figures
from fatk.scoring import read_scores
from pipelines.settings import DataSettings
from pipelines.sources import read_source
from tests.kept_runs import CLASSES, read_table, write_ablation, write_crossval

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / results_tables.RESULTS
ROWS = read_toml(KEPT / "tables.toml")["row"]
TOGETHER = read_toml(KEPT / "tables.toml")["together"]

# What the checkout says


def test_the_pages_say_what_is_kept() -> None:
    assert results_tables.stale(ROOT) == [], "python -m fatk.results renews them"


def test_every_block_is_on_the_page_of_results() -> None:
    shown = [
        re.findall(r"<!-- results: (\S+) -->", (ROOT / page).read_text()) for page in results_tables.PAGES
    ]
    assert [name for names in shown for name in names] == list(results_tables.Results(ROOT).blocks())
    assert all(name.endswith("-main") for name in shown[0])  # of README.md, which has the first rows alone


def test_rows_of_the_readme_are_among_all_rows() -> None:
    readme, page = ((ROOT / path).read_text() for path in results_tables.PAGES)
    rows = [line for line in readme.split("## Results")[1].splitlines() if line.startswith("| ")]
    assert [line for line in rows if line not in page.splitlines()] == []
    ours = {row["what"] for row in [*ROWS, *TOGETHER] if row.get("main")}
    assert ours
    assert {row["what"] for row in [*ROWS, *TOGETHER] if f"| {row['what']} |" in readme} == ours


def test_pictures_of_the_pages_are_there() -> None:
    for name in re.findall(r"!\[.*?\]\((.*?)\)", (ROOT / "docs" / "results.md").read_text()):
        assert (ROOT / "docs" / name).is_file(), f"{name}: python -m fatk.results draws it"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["kept"])
def test_a_kept_row_can_be_made_again_and_is_honest(row: dict[str, str], shared: Path) -> None:
    folder = KEPT / row["kept"]
    if not folder.is_dir():
        pytest.skip(f"{row['kept']}: not run yet")
    words = row["command"].split()
    words = words[words.index("--config") + 1 :]  # what stands before the command is of the shell
    load_config(ROOT / words[0], [word for word in words if "=" in word])
    found = kept.read(folder)
    assert 'keep = "best"' not in found.config  # held-out clips chose no epoch
    if row["table"] != "ablation":  # whose rows have epochs of their own
        asked = sum(stage["epochs"] for stage in tomllib.loads(found.config)["stage"])
        assert {run.summary["epochs"] for run in found.runs} == {asked}  # none was stopped before
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert size < 2e6
    # The truth that is kept is that of the set.
    known = {}
    of_esc10 = row["kept"].startswith("esc10")
    if of_esc10:
        known = {
            clip["fname"]: frozenset(clip["labels"].split(","))
            for clip in read_table(shared / "esc10" / "esc10.csv")
        }
        folds = {clip["fname"]: clip["fold"] for clip in read_table(shared / "esc10" / "esc10.csv")}
        for run in found.runs:
            held = {folds[name] for scores in run.scores.values() for name in scores.names}
            assert held == {run.part if row["table"] == "esc10" else "1"}
    else:
        source = read_source(DataSettings(kind="fat2019", path=str(shared / "fat10")))
        known = {clip.name: frozenset(clip.labels) for clip in source.pool("curated")}
    for run in found.runs:
        for scores in run.scores.values():
            for name, truth in zip(scores.names, scores.truth, strict=True):
                assert known[name] == {c for c, on in zip(found.classes, truth, strict=True) if on}
    if row["table"] != "ablation":
        names = figures(found).mean.names
        if "judged" in row:  # on some of them, each once
            assert len(set(names)) == len(names)
            assert set(names) < set(known)
        else:
            assert len(names) == {"esc10": 400, "fat10": 240}[row["table"]]
            assert set(names) == set(known)


# Made-up runs


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout's pages with nothing kept yet, and runs of three kinds."""
    for page in (*results_tables.PAGES, results_tables.RESULTS / "tables.toml"):
        (tmp_path / page).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / page, tmp_path / page)
    write_crossval(tmp_path / "runs" / "single")
    write_crossval(tmp_path / "runs" / "several", several=True)
    write_ablation(tmp_path / "runs" / "ablation")
    monkeypatch.chdir(tmp_path)
    assert results.main([]) == 0  # whatever the checkout keeps is not here
    return tmp_path


def keep_all() -> None:
    """Every row of `tables.toml` is kept; the pages and pictures are renewed once, with the last."""
    sources = {"esc10": "single", "fat10": "several", "ablation": "ablation"}
    found = {table: kept.gather(Path("runs") / name) for table, name in sources.items()}
    *rows, last = ROWS
    for row in rows:
        kept.write(found[row["table"]], results_tables.RESULTS / row["kept"])
    assert results.main(["--keep", f"runs/{sources[last['table']]}", "--as", last["kept"]]) == 0


def test_a_row_may_do_without_pictures(place: Path) -> None:
    keep_all()
    page = (place / "docs" / "results.md").read_text()
    bare = [row["kept"] for row in ROWS if not row.get("pictures", True)]
    drawn = {path.name for path in (place / "docs").glob("*.png")}
    assert bare
    assert drawn
    assert set(re.findall(r"!\[.*?\]\((.*?)\)", page)) == drawn
    assert not [name for name in drawn for own in bare if own in name]


def test_rows_together_are_their_mean_prediction(place: Path) -> None:
    keep_all()
    given = next(row for row in TOGETHER if row["table"] == "fat10" and len(row["kept"]) == 2)
    row = next(row for row in results_tables.Results(place).together if row.what == given["what"])
    first, second = (figures(kept.read(results_tables.RESULTS / name)) for name in given["kept"])
    assert (row.scores.chances == first.mean.chances).all()  # both are of the same runs here

    path = results_tables.RESULTS / given["kept"][1] / "predictions.csv"
    head, *lines = path.read_text().splitlines()
    other = [",".join([*line.split(",")[:-2], *line.split(",")[:-3:-1]]) for line in lines]
    path.write_text(
        "\n".join([head, *other[::-1]]) + "\n"
    )  # two classes change places, and clips their order
    assert results.main([]) == 0
    second = figures(kept.read(results_tables.RESULTS / given["kept"][1]))
    assert second.mean.names != first.mean.names
    of_second = dict(zip(second.mean.names, second.mean.chances, strict=True))
    both = (first.mean.chances + np.stack([of_second[name] for name in first.mean.names])) / 2
    wanted = label_ranking_average_precision_score(
        first.mean.truth, both, sample_weight=first.mean.truth.sum(1)
    )
    line = f"| {row.what} | {len(both)} {given.get('judged', results_tables.JUDGED)} |  |  | {wanted:.4f} |"
    assert line in (place / "docs" / "results.md").read_text()

    shutil.rmtree(path.parent)  # a row that is missing takes what it is a part of along
    assert results.main([]) == 0
    assert f"| {row.what} | {len(both)}" not in (place / "docs" / "results.md").read_text()


def test_rows_together_leave_a_submission(place: Path) -> None:
    keep_all()
    names = [row["kept"] for row in ROWS if row["table"] == "fat10" and "judged" in row][:2]
    table, sent = results_tables.RESULTS / "tables.toml", results_tables.RESULTS / "sent.csv"
    table.write_text(
        table.read_text()
        + f"""
[[together]]
table = "fat10"
what = "both, sent"
kept = {names}
command = "python -m fatk.results"
submission = "sent.csv"
"""
    )
    first, second = (results_tables.RESULTS / name / "submission.csv" for name in names)
    clips, one = kept.read_scores(first)
    another = np.random.default_rng(0).random(one.shape)
    scoring.write_predictions(second, clips, CLASSES, another)
    with pytest.raises(cli.UserError, match=re.escape(str(sent))):
        results.main(["--check"])
    assert results.main([]) == 0
    assert results.main(["--check"]) == 0
    assert kept.read_scores(sent)[0] == clips
    np.testing.assert_allclose(kept.read_scores(sent)[1], (one + another) / 2, atol=1e-6)
    scoring.write_predictions(sent, clips, CLASSES, one)  # of one row alone
    with pytest.raises(cli.UserError, match=re.escape(str(sent))):
        results.main(["--check"])
    complaint = "'both, sent': its rows have not the same test clips and classes"
    scoring.write_predictions(second, [*clips[:-1], "other.wav"], CLASSES, another)
    with pytest.raises(cli.UserError, match=complaint):
        results.main([])
    second.unlink()
    with pytest.raises(cli.UserError, match=complaint):
        results.main([])


def test_rows_that_are_not_there_are_left_out(place: Path) -> None:
    text = (place / "README.md").read_text()
    assert "ACDNet | 96.65" in text
    assert "our recipe" not in text
    assert results.main(["--check"]) == 0


def test_figures_are_those_of_the_runs(place: Path) -> None:
    keep_all()
    page = (place / "docs" / "results.md").read_text()
    said = {row["what"]: None for row in ROWS}
    assert all(what in page for what in said)

    def of_run(run: str, file: str = "predictions.csv") -> tuple[np.ndarray, np.ndarray]:
        table = read_table(place / "runs" / run / file)
        labels = {
            row["fname"]: row["labels"].split(",") for row in read_table(place / "runs" / run / "splits.csv")
        }
        truth = np.array([[c in labels[row["fname"]] for c in CLASSES] for row in table], int)
        return truth, np.array([[float(row[c]) for c in CLASSES] for row in table])

    def lwlrap(truth: np.ndarray, chances: np.ndarray) -> float:
        return label_ranking_average_precision_score(truth, chances, sample_weight=truth.sum(1))

    runs = {seed: [of_run(f"single/seed{seed}-fold{fold}") for fold in range(3)] for seed in (7, 8)}
    right = {seed: [(c.argmax(1) == t.argmax(1)).mean() for t, c in own] for seed, own in runs.items()}
    one = {
        seed: [of_run(f"single/seed{seed}-fold{fold}", "predictions-1.csv") for fold in range(3)]
        for seed in (7, 8)
    }
    cells = []
    for own in (runs, one):
        means = [
            100 * np.mean([(c.argmax(1) == t.argmax(1)).mean() for t, c in folds]) for folds in own.values()
        ]
        cells.append(f"{np.mean(means):.2f} ± {np.std(means, ddof=1):.2f}")
    assert len(set(cells)) == 2
    assert f"| {cells[0]} | {cells[1]} | 2 | " in page
    for seed, own in right.items():
        assert f"| {seed} | " + " | ".join(f"{100 * value:.2f}" for value in own) + " |" in page
    truth = np.concatenate([t for t, _ in runs[7]])
    both = np.mean([np.concatenate([c for _, c in own]) for own in runs.values()], axis=0)
    assert f"| 2 | {100 * (both.argmax(1) == truth.argmax(1)).mean():.2f} | " in page
    counts = results_pictures.counts(figures(kept.read(results_tables.RESULTS / "esc10_best")))
    assert (counts == confusion_matrix(truth.argmax(1), both.argmax(1))).all()

    runs = {seed: [of_run(f"several/seed{seed}-fold{fold}") for fold in range(3)] for seed in (7, 8)}
    means = [np.mean([lwlrap(*run) for run in own]) for own in runs.values()]
    assert f"| 60 curated clips, held out | {np.mean(means):.4f} ± {np.std(means, ddof=1):.4f} | 2 |" in page

    plain, mixed = (
        [lwlrap(*of_run(f"ablation/{name}-seed{seed}")) for seed in seeds]
        for name, seeds in (("plain", (7, 8)), ("mixed", (7,)))
    )
    assert f"| plain | 2 | {np.mean(plain):.4f} | {np.std(plain, ddof=1):.4f} |  |" in page
    assert f"| mixed | 1/2 | {mixed[0]:.4f} |  | {mixed[0] - plain[0]:+.4f} | plain |" in page
    minutes = [re.findall(rf"^\| {name} \|.* (\S+) \|[^|]*\|$", page, re.M)[0] for name in ("plain", "mixed")]
    assert minutes == ["7.5", "7.0"]  # runs of 7 and 8, of 7 minutes


@pytest.mark.parametrize("page", results_tables.PAGES, ids=str)
def test_an_altered_figure_is_found(place: Path, page: Path) -> None:
    keep_all()
    assert results.main(["--check"]) == 0
    text = page.read_text()
    figure = re.search(r"our recipe, from scratch \| (\d\d\.\d\d)", text)
    assert figure
    page.write_text(text.replace(figure[1], f"{float(figure[1]) + 0.01:.2f}"))
    assert results_tables.stale(place) == [page]
    with pytest.raises(cli.UserError, match=rf"{page}: not what is kept"):
        results.main(["--check"])
    assert results.main([]) == 0
    assert page.read_text() == text


def test_an_altered_prediction_is_found(place: Path) -> None:
    keep_all()
    path = results_tables.RESULTS / "esc10_best" / "predictions.csv"
    rows = path.read_text().splitlines()
    first = rows[1].split(",")
    rows[1] = ",".join([*first[:4], *("0" if name == first[3] else "1" for name in CLASSES)])
    path.write_text("\n".join(rows) + "\n")
    assert results_tables.stale(place) == list(results_tables.PAGES)


def test_what_is_kept_reads_back_and_names_no_place(place: Path) -> None:
    keep_all()
    for source, row in (("single", "esc10_best"), ("several", "fat10_best"), ("ablation", "fat10_ablation")):
        before, after = kept.gather(Path("runs") / source), kept.read(results_tables.RESULTS / row)
        assert (before.kind, before.classes, before.about) == (after.kind, after.classes, after.about)
        for one, other in zip(before.runs, after.runs, strict=True):
            assert (one.title, one.seed, one.part, one.history) == (
                other.title,
                other.seed,
                other.part,
                other.history,
            )
            assert set(one.scores) == set(other.scores)
            for crops, scores in one.scores.items():
                assert scores.names == other.scores[crops].names
                assert (scores.truth == other.scores[crops].truth).all()
                assert (scores.chances == other.scores[crops].chances).all()
        for path in (results_tables.RESULTS / row).iterdir():
            text = path.read_text()
            assert str(place) not in text
            assert "somewhere" not in text


def test_pictures_are_drawn(place: Path) -> None:
    keep_all()
    for name, kind in (
        ("esc10_best", "confusion"),
        ("esc10_best", "curves"),
        ("fat10_best", "classes"),
        ("fat10_best", "curves"),
    ):
        path = place / "docs" / results_tables.picture(name, kind)
        assert path.read_bytes().startswith(b"\x89PNG")
        assert f"({path.name})" in (place / "docs" / "results.md").read_text()


def test_a_figure_needs_whole_folds(place: Path) -> None:
    """A fold that is missing, or a clip that is held out twice, is told and not averaged over."""
    keep_all()
    path = results_tables.RESULTS / "esc10_best" / "summary.json"
    text = path.read_text()
    path.write_text(text.replace('"seed8-fold2"', '"seed8-fold9"').replace('"part": "2"', '"part": "1"', 1))
    with pytest.raises(cli.UserError, match=r"esc10_best: (seed . has the folds|a clip is held out twice)"):
        results.main([])


def test_a_run_that_was_stopped_is_not_kept(place: Path) -> None:
    path = place / "runs" / "single" / "seed8-fold1" / "summary.json"
    path.write_text(path.read_text().replace('"epochs": 12', '"epochs": 11'))
    with pytest.raises(cli.UserError, match=r"seed8-fold1: was stopped, at epoch 11 of 12\."):
        results.main(["--keep", "runs/single", "--as", "x"])


@pytest.mark.parametrize("kind", ["single", "ablation"])
def test_runs_of_a_set_that_changed_are_not_kept_together(place: Path, kind: str) -> None:
    paths = sorted((place / "runs" / kind).glob("*/summary.json"))
    for path in paths:
        told = json.loads(path.read_text()) | {"fingerprint": "before"}
        path.write_text(json.dumps(told))
    assert results.main(["--keep", f"runs/{kind}", "--as", "x"]) == 0
    paths[-1].write_text(paths[-1].read_text().replace("before", "after"))
    with pytest.raises(cli.UserError, match=r"are of other clips or labels: the set changed between them\."):
        results.main(["--keep", f"runs/{kind}", "--as", "x"])


@pytest.mark.parametrize("setting", ["features.rate=16000", "records.rate=16000", "data.noisy=false"])
def test_a_row_of_other_clips_is_kept_beside_the_others(place: Path, setting: str) -> None:
    """The demo set is made at the rate of its shards."""
    folder = place / "runs" / "ablation"
    for path in folder.glob("*/summary.json"):
        print_of = "rate" if path.parent.name.startswith("mixed") else "plain"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"fingerprint": print_of}))
    about = json.loads((folder / "ablation.json").read_text())
    about["rows"][1]["set"] = [setting]
    (folder / "ablation.json").write_text(json.dumps(about))
    assert results.main(["--keep", "runs/ablation", "--as", "x"]) == 0


def test_small_and_large_probabilities_stay_apart(tmp_path: Path) -> None:
    """A tie counts as the worst rank."""
    chances = 1 / (1 + np.exp(-np.array([[-30.0, -18.0, -17.9, 19.0], [14.0, 25.0, 30.0, -40.0]])))
    scoring.write_predictions(tmp_path / "p.csv", ("a", "b"), CLASSES, chances)
    names, found = read_scores(tmp_path / "p.csv")
    assert names == ("a", "b")
    np.testing.assert_allclose(found, chances, rtol=6e-9)
    np.testing.assert_array_equal(found.argsort(1), chances.argsort(1))
    assert all(len(set(row)) == 4 for row in found)


def test_runs_of_other_settings_are_not_kept_together(place: Path) -> None:
    path = place / "runs" / "single" / "seed8-fold1" / "config.toml"
    path.write_text(path.read_text().replace("weight_decay = 0.01", "weight_decay = 0.02"))
    with pytest.raises(cli.UserError, match=r"seed7-fold0 and seed8-fold1 were run with other settings"):
        results.main(["--keep", "runs/single", "--as", "x"])


def test_further_seeds_join_those_that_are_kept(place: Path) -> None:
    runs, target = place / "runs", results_tables.RESULTS / "x"
    for name, seeds in (("all", (7, 8, 9)), ("late", (9,))):
        write_crossval(runs / name, seeds=seeds)
    names = [f"{n}.wav" for n in range(5)]
    for name, chance in (("single", 0.2), ("late", 0.5)):
        scoring.write_predictions(runs / name / "submission.csv", names, CLASSES, np.full((5, 4), chance))
    join = ["--keep", "runs/late", "--as", "x", "--join"]
    assert results.main(["--keep", "runs/single", "--as", "x"]) == 0
    assert results.main(join) == 0
    whole, found = kept.gather(runs / "all"), kept.read(target)
    assert found.seeds == [7, 8, 9]
    for one, other in zip(whole.runs, found.runs, strict=True):
        assert (one.title, one.part) == (other.title, other.part)
        assert all((one.scores[n].chances == other.scores[n].chances).all() for n in one.scores)
    assert found.submission is not None
    assert found.submission[1] == pytest.approx((2 * 0.2 + 0.5) / 3, abs=1e-6)
    with pytest.raises(cli.UserError, match="seed 9 is kept there already"):
        results.main(join)


def test_what_does_not_fit_is_not_joined(place: Path) -> None:
    late, join = place / "runs" / "late", ["--keep", "runs/late", "--as", "x", "--join"]
    write_crossval(late, seeds=(9,))
    with pytest.raises(cli.UserError, match="not a folder of kept results"):
        results.main(join)
    assert results.main(["--keep", "runs/single", "--as", "x"]) == 0
    kept_before = (results_tables.RESULTS / "x" / "predictions.csv").read_bytes()
    for table in (late / "seed9-fold1").glob("*s*.csv"):
        table.write_text(table.read_text().replace("020.wav", "999.wav"))
    with pytest.raises(cli.UserError, match="fold 1 of seed 9 held out other clips"):
        results.main(join)
    for fold in range(3):
        path = late / f"seed9-fold{fold}" / "config.toml"
        path.write_text(path.read_text().replace("weight_decay = 0.01", "weight_decay = 0.02"))
    with pytest.raises(
        cli.UserError,
        match=r"had other settings: `weight_decay = 0\.01`, and these have `weight_decay = 0\.02`",
    ):
        results.main(join)
    with pytest.raises(cli.UserError, match="only seeds of cross-validations can be joined"):
        results.main(["--keep", "runs/ablation", "--as", "x", "--join"])
    assert (results_tables.RESULTS / "x" / "predictions.csv").read_bytes() == kept_before


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--join"], "--join goes with --keep"),
        (["--keep", "runs/single"], "--keep and --as go together"),
        (["--keep", "runs/single", "--as", "a/b"], "--as must be letters"),
        (["--keep", "runs/none", "--as", "x"], "no finished run, cross-validation or ablation is there"),
        (["--keep", "runs/single", "--as", "x", "--check"], "--check writes nothing"),
    ],
)
def test_what_cannot_be_is_refused(place: Path, arguments: list[str], complaint: str) -> None:
    with pytest.raises((cli.UserError, ConfigError), match=complaint):
        results.main(arguments)
