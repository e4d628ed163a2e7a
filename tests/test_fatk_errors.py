"""Bad input through the real commands: a line that says what and where, exit code 2, and no traceback."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from fatk import cli, evaluate, export, features, locks, predict, prepare, sweep, train
from fatk.serving import ServedTagger
from pipelines.settings import EvaluateSettings, FeatureSettings

RATE = 16000
DEMO = str(Path(__file__).resolve().parents[1] / "fatk" / "configs" / "demo.toml")

Main = Callable[[Sequence[str]], int]


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs and records go to where the test is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FATK_SHARED", raising=False)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture) -> Callable[..., str]:
    """Run a command that must fail -> its one line."""

    def run(main: Main, *arguments: object) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            cli.run(lambda: main([str(argument) for argument in arguments]))
        lines = capsys.readouterr().err.splitlines()
        assert left.value.code == 2, lines
        assert len(lines) == 1, lines
        assert lines[0].startswith("fatk: ")
        return lines[0].removeprefix("fatk: ")

    return run


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
def test_a_full_disk_is_a_line(refused: Callable[..., str]) -> None:
    def full(_: Sequence[str]) -> int:
        with open("/dev/full", "w", encoding="utf-8") as out:
            out.write("x")
        return 0

    assert refused(full) == "No space left on device. What was written before is whole."


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
def test_a_disk_that_tensorflow_finds_full_is_a_line(refused: Callable[..., str]) -> None:
    """Its errors are no `OSError`."""
    import tensorflow as tf

    def full(_: Sequence[str]) -> int:
        with tf.io.TFRecordWriter("/dev/full") as writer:
            for _ in range(100):
                writer.write(bytes(100_000))
        return 0

    assert refused(full) == "No space left on device. What was written before is whole."


def test_a_network_that_does_not_fit_on_the_disk_leaves_nothing_of_it(tmp_path: Path) -> None:
    from fatk import callbacks

    class Network:
        def save(self, path: Path) -> None:
            path.write_bytes(b"half of it")
            raise OSError(28, "No space left on device")

    (tmp_path / "best.keras").write_bytes(b"the one before")
    with pytest.raises(OSError, match="No space left"):
        callbacks.write_network(Network(), tmp_path / "best.keras")
    assert [path.name for path in tmp_path.iterdir()] == ["best.keras"]


def test_names_are_printed_as_they_are(capsys: pytest.CaptureFixture) -> None:
    """No markup, no pictures of what stands between colons."""
    names = ["[noise]", "Dog [bark]", "music [/noise]", "site:a:day:bird:1.wav"]
    cli.table("run [v2]", ("class", "[b]"), [(name, "") for name in names])
    for name in names:
        cli.say(f"{name}: animal:dog:bark", style="yellow")
    said = capsys.readouterr().out
    for name in (*names, "run [v2]", "[b]"):
        assert said.count(name) >= 1 + (name in names)
    assert said.count("animal:dog:bark") == len(names)


def sound(path: Path, seconds: float = 0.2, rate: int = RATE) -> Path:
    """A tone, another one for each name: copies would be held out together."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(round(seconds * rate)) / rate
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * (300 + sum(path.stem.encode()) % 500) * time), rate)
    return path


def table(path: Path, *rows: Sequence[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows(rows)
    return path


def config(folder: Path, data: str) -> Path:
    path = folder / "try.toml"
    small = f"[features]\nrate = {RATE}\nbands = 64\n[train]\nbatch = 4\n[[stage]]\nepochs = 1\n"
    path.write_text(f'[data]\nrecords = "shards"\n{data}\n{small}')
    return path


CSV = 'kind = "csv"\npath = "clips"\ntable = "t.csv"'


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A csv set with nothing wrong -> its config."""
    names = [f"{n}.wav" for n in range(12)]
    for name in names:
        sound(tmp_path / "clips" / name)
    table(tmp_path / "t.csv", ("fname", "labels"), *((name, "ab"[n % 2]) for n, name in enumerate(names)))
    return config(tmp_path, CSV)


# Configuration


@pytest.mark.parametrize("main", [train.main, prepare.main])
def test_a_misspelt_key(main: Main, refused: Callable[..., str]) -> None:
    line = refused(main, "--config", DEMO, "mixng.alpha=0.4")
    assert line == f"{DEMO}: `mixng` is no key. Did you mean `mixing`?"


def test_a_config_of_0_epochs(refused: Callable[..., str]) -> None:
    line = refused(train.main, "--config", DEMO, "stage.0.epochs=0")
    assert line == f"{DEMO}: `stage.0.epochs` must be at least 1. Received: 0."


def test_a_missing_config(refused: Callable[..., str]) -> None:
    assert refused(train.main, "--config", "no.toml").startswith("no.toml: no such config.")


# Tables and folders


@pytest.mark.parametrize("main", [train.main, prepare.main])
def test_a_missing_table(main: Main, good: Path, refused: Callable[..., str]) -> None:
    missing = good.parent / "t.csv"
    missing.unlink()
    assert refused(main, "--config", good) == f"{missing}: no such table."
    assert not (good.parent / "runs" / "try").exists()  # the name is free


@pytest.mark.parametrize("main", [train.main, prepare.main])
def test_a_table_without_labels(main: Main, good: Path, refused: Callable[..., str]) -> None:
    wrong = table(good.parent / "t.csv", ("fname", "label"), ("0.wav", "a"))
    line = refused(main, "--config", good)
    assert line == f"{wrong}: no column 'labels'. Its columns are: fname, label."


def test_an_empty_table(good: Path, refused: Callable[..., str]) -> None:
    wrong = table(good.parent / "t.csv", ("fname", "labels"))
    assert refused(train.main, "--config", good) == f"{wrong}: the table has no rows."


def test_a_table_that_is_no_table(good: Path, refused: Callable[..., str]) -> None:
    (good.parent / "t.csv").write_bytes(sound(good.parent / "x.wav").read_bytes())
    assert refused(train.main, "--config", good).startswith(f"{good.parent / 't.csv'}: ")


def test_a_row_with_no_label(good: Path, refused: Callable[..., str]) -> None:
    wrong = table(good.parent / "t.csv", ("fname", "labels"), ("0.wav", "a"), ("1.wav", ""))
    assert refused(train.main, "--config", good) == f"{wrong}, line 3: 1.wav has no label."


def test_an_unknown_class_in_one_row(good: Path, refused: Callable[..., str]) -> None:
    rows = [("fname", "labels"), *((f"{n}.wav", "a" if n != 4 else "a,Brak") for n in range(8))]
    wrong = table(good.parent / "t.csv", *rows)
    line = refused(train.main, "--config", good, 'data.classes=["a", "b"]')
    assert line == f"{wrong}, line 6: 4.wav has the unknown class 'Brak'. The classes are: a, b."


def test_an_unknown_class_in_kaggles_layout(tmp_path: Path, refused: Callable[..., str]) -> None:
    root = tmp_path / "set"
    for name in ("1.wav", "2.wav"):
        sound(root / "train_curated" / name)
    sound(root / "test" / "3.wav")
    table(root / "sample_submission.csv", ("fname", "Bark", "Rain"), ("3.wav", "0", "0"))
    wrong = table(root / "train_curated.csv", ("fname", "labels"), ("1.wav", "Bark"), ("2.wav", "Rain,Rian"))
    line = refused(train.main, "--config", config(tmp_path, 'kind = "fat2019"\npath = "set"'))
    assert line.startswith(f"{wrong}, line 3: 2.wav has the unknown class 'Rian'.")


@pytest.mark.parametrize(
    "data",
    [
        'kind = "csv"\npath = "none"\ntable = "t.csv"',
        'kind = "folders"\npath = "none"',
        'kind = "fat2019"\npath = "none"',
    ],
)
@pytest.mark.parametrize("there", [True, False])
def test_an_empty_folder(data: str, there: bool, tmp_path: Path, refused: Callable[..., str]) -> None:
    table(tmp_path / "t.csv", ("fname", "labels"), ("0.wav", "a"))
    if there:
        (tmp_path / "none").mkdir()
    line = refused(train.main, "--config", config(tmp_path, data))
    assert line.startswith(f"{tmp_path / 'none'}: ")
    assert line.endswith("the folder is empty." if there else "no such folder.")


def test_shared_recordings_that_are_not_there(tmp_path: Path, refused: Callable[..., str]) -> None:
    beside = Path(DEMO).parents[3] / "shared" / "none"
    where = "fatk/configs/esc10.toml", f"data.path={beside}", f"data.records={tmp_path}"
    line = refused(prepare.main, "--config", Path(DEMO).parents[2] / where[0], *where[1:])
    assert line.startswith(f"{beside}: no such folder. FATK_SHARED names ")


def test_folders_of_classes_without_sounds(tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "sounds" / "Bark").mkdir(parents=True)
    line = refused(train.main, "--config", config(tmp_path, 'kind = "folders"\npath = "sounds"'))
    assert line.startswith(f"{tmp_path / 'sounds'}: no audio files")


def test_all_files_missing(good: Path, refused: Callable[..., str]) -> None:
    for path in (good.parent / "clips").iterdir():
        path.rename(path.with_suffix(".moved"))
    line = refused(train.main, "--config", good)
    assert line.startswith("12 of 12 files cannot be read")
    assert str(good.parent / "clips" / "0.wav") in line


def test_a_folder_with_other_data_is_not_made_a_demo_set(tmp_path: Path, refused: Callable[..., str]) -> None:
    table(tmp_path / "mine" / "train_curated.csv", ("fname", "labels"))
    for command in (train.main, prepare.main):
        line = refused(command, "--config", DEMO, f"data.path={tmp_path / 'mine'}", "data.records=shards")
        assert str(tmp_path / "mine") in line
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["train_curated.csv"]


def test_a_rate_that_the_demo_set_cannot_have(tmp_path: Path, refused: Callable[..., str]) -> None:
    line = refused(
        prepare.main, "--config", DEMO, "features.rate=8000", "data.path=mine", "data.records=shards"
    )
    assert "`rate` must be at least" in line
    assert not (tmp_path / "mine").exists()


# Runs


def test_an_existing_run(good: Path, refused: Callable[..., str]) -> None:
    run = good.parent / "runs" / "mine"
    run.mkdir(parents=True)
    line = refused(train.main, "--config", good, "name=mine")
    assert line == "runs/mine: exists already. Add --resume, --overwrite, or name=another."


def test_no_run_to_resume(good: Path, refused: Callable[..., str]) -> None:
    assert refused(train.main, "--config", good, "--resume") == "runs/try: no run to resume."


def test_resuming_with_other_settings(good: Path, refused: Callable[..., str]) -> None:
    train.open_run(cli.load_config(good), overwrite=False, resume=False)
    line = refused(train.main, "--config", good, "--resume", "mixing.alpha=0.3")
    assert line.startswith("runs/try: was started with other settings, now given: alpha = 0.3.")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.batch=100", "`train.batch` must be at most the number of training clips, 8. Received: 100."),
        ("features.bands=32", "an image of 32 x 32 is too small for the strides of 'specgram'"),
    ],
)
def test_what_is_found_out_late_leaves_the_name_free(
    override: str, words: str, good: Path, refused: Callable[..., str]
) -> None:
    line = refused(train.main, "--config", good, override, "data.valid_per_class=2")
    assert line.startswith(words)
    assert not (good.parent / "runs" / "try").exists()


def test_a_run_is_not_overwritten_by_one_that_cannot_start(good: Path, refused: Callable[..., str]) -> None:
    run = train.open_run(cli.load_config(good), overwrite=False, resume=False)
    run.network.write_text("weights")
    (good.parent / "t.csv").rename(good.parent / "moved.csv")
    for _ in range(2):
        assert "no such table" in refused(train.main, "--config", good, "--overwrite")
    assert run.network.read_text() == "weights"
    assert [path.name for path in run.folder.parent.iterdir()] == ["try"]


@pytest.mark.parametrize("option", ["--resume", "--overwrite"])
def test_a_run_of_another_process_is_left_to_it(option: str, good: Path, refused: Callable[..., str]) -> None:
    run = train.open_run(cli.load_config(good), overwrite=False, resume=False)
    before = run.config.stat()
    with locks.hold(Path("runs/try")):
        line = refused(train.main, "--config", good, option)
    assert line == "runs/try: another process is at it. Wait for it to end, or give name=another."
    assert run.config.stat() == before
    assert [path.name for path in run.folder.parent.iterdir()] == ["try"]


def test_a_search_of_another_process_is_left_to_it(good: Path, refused: Callable[..., str]) -> None:
    Path("space.toml").write_text('[space]\n"loss.smoothing" = { low = 0, high = 0.2 }\n')
    with locks.hold(Path("runs/try-sweep")):
        line = refused(sweep.main, "--config", good, "--runs", "2", "space.toml")
    assert line == "runs/try-sweep: another process is at it. Wait for it to end, or give name=another."


def test_exporting_what_is_no_run(tmp_path: Path, refused: Callable[..., str]) -> None:
    assert refused(export.main, "--run", "runs/none").startswith("runs/none: no run")


# Models and sounds


class Network:
    """Stands for a network: two means of the image."""

    def __init__(self) -> None:
        self.weights: list = []

    def __call__(self, images: tf.Tensor, training: bool) -> tf.Tensor:
        return tf.reduce_mean(images, axis=(1, 2))[:, :2]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel as export makes it, around a network of one multiplication."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "classes.txt").write_text("a\nb\n")
    settings = FeatureSettings(rate=RATE, bands=64)
    served = ServedTagger(Network(), settings, EvaluateSettings(crops=2), ("a", "b"), folder / "classes.txt")
    served.save(folder / "saved_model")
    return folder


def spoilt(folder: Path, how: str) -> Path:
    model = folder / "model"
    if how != "missing":
        model.mkdir()
    if how == "a run without one":
        (model / "config.toml").write_text("")
    elif how == "a text":
        (model / "saved_model.pb").write_text("no model")
    elif how == "nothing in it":
        (model / "saved_model.pb").write_bytes(b"")
    elif how == "another's":
        tf.saved_model.save(tf.Module(), str(model))
    return model


@pytest.mark.parametrize(
    "how", ["missing", "empty", "a run without one", "a text", "nothing in it", "another's"]
)
def test_a_folder_that_is_no_saved_model(how: str, good: Path, refused: Callable[..., str]) -> None:
    folder = spoilt(good.parent, how)
    line = refused(predict.main, "--model", folder, good.parent / "clips" / "0.wav")
    assert line.startswith(f"{folder}: ")
    assert "SavedModel" in line or "no such folder" in line
    line = refused(
        evaluate.main, "--model", folder, "--audio", good.parent / "clips", "--table", good.parent / "t.csv"
    )
    assert line.startswith(f"{folder}: ")


def test_the_stand_in_answers(model: Path, good: Path, capsys: pytest.CaptureFixture) -> None:
    assert predict.main(["--model", str(model), str(good.parent / "clips" / "0.wav")]) == 0
    assert "0.wav: " in capsys.readouterr().out


@pytest.mark.parametrize("how", ["missing", "empty", "text"])
def test_a_sound_that_cannot_be_read(how: str, model: Path, good: Path, refused: Callable[..., str]) -> None:
    path = good.parent / "bad.wav"
    if how != "missing":
        path.write_text("" if how == "empty" else "no sound at all")
    line = refused(predict.main, "--model", model, path)
    assert line.startswith(f"{path}: ")
    line = refused(features.main, "--config", good, "--audio", path, "--out", "x.npy")
    assert line.startswith(f"{path}: ")


def test_a_table_to_predict_with_a_missing_clip(model: Path, good: Path, refused: Callable[..., str]) -> None:
    (good.parent / "clips" / "3.wav").unlink()
    given = ("--model", model, "--audio", good.parent / "clips", "--table", good.parent / "t.csv")
    for main, arguments in ((predict.main, (*given, "--out", "o.csv")), (evaluate.main, given)):
        line = refused(main, *arguments)
        assert line == f"{good.parent / 't.csv'}, line 5: {good.parent / 'clips' / '3.wav'} is missing."


def test_a_table_to_evaluate_with_an_unknown_class(
    model: Path, good: Path, refused: Callable[..., str]
) -> None:
    wrong = table(good.parent / "t.csv", ("fname", "labels"), ("0.wav", "a"), ("1.wav", "c"))
    line = refused(evaluate.main, "--model", model, "--audio", good.parent / "clips", "--table", wrong)
    assert line == f"{wrong}, line 3: 1.wav has the unknown class 'c'. The classes are: a, b."


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give either sound files"),
        (("--out", "o.csv"), "--audio, --table and --out go together"),
        (
            ("--audio", "clips", "--table", "t.csv", "--out", "o.csv", "clips/0.wav"),
            "give either sound files",
        ),
        (("clips/0.wav", "--tta", "0"), "--tta must be at least 1. Received: 0."),
        (("clips/0.wav", "--top", "0"), "--top must be at least 1. Received: 0."),
        (("clips/0.wav", "--tta", "many"), "invalid int value: 'many'"),
        (("--audio", "none", "--table", "t.csv", "--out", "o.csv"), "none: no such folder"),
        (("--audio", "clips", "--table", "none.csv", "--out", "o.csv"), "none.csv: no such table"),
        (("--audio", "clips", "--table", "t.csv", "--out", "t.csv/o.csv"), "t.csv"),
    ],
)
def test_wrong_arguments_of_predict(
    arguments: tuple[str, ...], words: str, model: Path, good: Path, refused: Callable[..., str]
) -> None:
    assert words in refused(predict.main, "--model", model, *arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "nothing to write"),
        (("--out", "none/x.npy"), "none/x.npy"),
        (("--png", "none/x.png"), "none/x.png"),
    ],
)
def test_wrong_arguments_of_features(
    arguments: tuple[str, ...], words: str, good: Path, refused: Callable[..., str]
) -> None:
    assert words in refused(features.main, "--config", good, "--audio", "clips/0.wav", *arguments)
