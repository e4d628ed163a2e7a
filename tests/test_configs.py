"""Configuration: shipped files, overrides, paths, and what is said of mistakes."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fatk.config import Config, ConfigError, load_config, parse_override, to_toml
from models.settings import StageSettings
from pipelines.settings import DataSettings

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "fatk" / "configs"
SHIPPED = sorted(CONFIGS.rglob("*.toml"))
DEMO = ROOT / "fatk" / "configs" / "demo.toml"


@pytest.fixture(autouse=True)
def own_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FATK_SHARED", raising=False)


def problems(path: Path, *overrides: str) -> list[str]:
    """What is wrong, a problem a line, without the file's name that stands before each."""
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    return [line.removeprefix(f"{path}: ") for line in lines]


def write(folder: Path, text: str) -> Path:
    path = folder / "try.toml"
    path.write_text(text, encoding="utf-8")
    return path


# Shipped files


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_config_loads_and_tells_how_to_run_it(path: Path) -> None:
    config = load_config(path)
    assert config.name == path.stem
    assert config.stage
    header = path.read_text(encoding="utf-8").split("\n\n")[0]
    assert f"--config fatk/configs/{path.relative_to(CONFIGS)}" in header


def test_demo_esc10_and_fat10_are_shipped() -> None:
    assert {"demo.toml", "esc10.toml", "fat10.toml"} <= {path.name for path in SHIPPED}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_config_is_the_same_after_being_written(path: Path, tmp_path: Path) -> None:
    config = load_config(path)
    assert load_config(write(tmp_path, to_toml(config))) == config


def test_awkward_values_are_the_same_after_being_written(tmp_path: Path) -> None:
    config = load_config(
        DEMO,
        [
            "name=2019-b_1.x",
            'data.classes=["Bathtub_(filling_or_washing)", "Hi-hat", "Männer, \\"quoted\\" \\\\ back"]',
            f"data.path={tmp_path}/a folder/é's",
            "features.fmax=10000",
            "mixing.alpha=1e-05",
            "train.checkpoint_minutes=inf",
            'stage=[{epochs=1, freeze=true}, {epochs=2, schedule="constant", rate=1e-7}]',
        ],
    )
    again = load_config(write(tmp_path, to_toml(config)))
    assert again == config
    assert again.data.classes[2] == 'Männer, "quoted" \\ back'
    assert again.features.fmax == 10000.0
    assert [stage.epochs for stage in again.stage] == [1, 2]


def test_what_is_none_stays_none(tmp_path: Path) -> None:
    config = load_config(DEMO)
    assert config.features.fmax is None
    assert config.data.fold is None
    assert "fmax" not in to_toml(config)


def test_the_name_is_the_files_unless_given(tmp_path: Path) -> None:
    text = '[data]\nkind = "demo"\n'
    assert load_config(write(tmp_path, text)).name == "try"
    assert load_config(write(tmp_path, 'name = "mine"\n' + text)).name == "mine"
    assert load_config(write(tmp_path, text), ["name=other"]).name == "other"


# Overrides


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("mixing.alpha=0.4", ["mixing", "alpha"], 0.4),
        ("seed=7", ["seed"], 7),
        ("data.strict=true", ["data", "strict"], True),
        ("name=try", ["name"], "try"),
        ('name="2"', ["name"], "2"),
        ("data.path=/a b/c=d", ["data", "path"], "/a b/c=d"),
        ("data.path=", ["data", "path"], ""),
        ('data.classes=["a", "b"]', ["data", "classes"], ["a", "b"]),
        ("stage.0.epochs=2", ["stage", "0", "epochs"], 2),
    ],
)
def test_an_override_is_toml_or_a_bare_string(text: str, path: list[str], value: object) -> None:
    assert parse_override(text) == (path, value)


@pytest.mark.parametrize("text", ["epochs", "=3", "a..b=1", "stage[0].epochs=1", ""])
def test_what_is_no_override_is_said(text: str) -> None:
    with pytest.raises(ConfigError, match=r"an override is `key=value`, .* Received: "):
        parse_override(text)


def test_overrides_reach_every_depth() -> None:
    plain = load_config(DEMO)
    config = load_config(DEMO, ["name=try", "mixing.alpha=0.4", "features.format=AAA", "stage.0.epochs=2"])
    assert config == replace(
        plain,
        name="try",
        mixing=replace(plain.mixing, alpha=0.4),
        features=replace(plain.features, format="AAA"),
        stage=(replace(plain.stage[0], epochs=2),),
    )


def test_the_last_of_two_overrides_holds() -> None:
    assert load_config(DEMO, ["seed=1", "seed=2"]).seed == 2


def test_a_stage_can_be_set_where_the_file_has_none(tmp_path: Path) -> None:
    path = write(tmp_path, '[data]\nkind = "demo"\n')
    assert load_config(path).stage == (StageSettings(),)
    assert load_config(path, ["stage.0.epochs=3"]).stage == (StageSettings(epochs=3),)


def test_a_stage_that_is_not_there_is_said() -> None:
    assert problems(DEMO, "stage.1.epochs=2") == [
        "`stage.1.epochs`: '1' must be a number from 0 to 0, as in `stage.0.epochs`."
    ]
    assert problems(DEMO, "stage.epochs=2") == [
        "`stage.epochs`: 'epochs' must be a number from 0 to 0, as in `stage.0.epochs`."
    ]


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("mixng.alpha=0.4", "mixing"),
        ("mixing.alhpa=0.4", "mixing.alpha"),
        ("feature.bands=64", "features"),
        ("alpha=0.4", "mixing.alpha"),
        ("stage.0.epoch=2", "stage.0.epochs"),
        ("sed=1", "seed"),
        ("train.bacth=8", "train.batch"),
    ],
)
def test_an_unknown_key_is_said_with_what_was_meant(override: str, meant: str) -> None:
    (line,) = problems(DEMO, override)
    assert " is no key." in line
    assert line.endswith(f" Did you mean `{meant}`?")


def test_a_key_like_no_other_gets_the_list() -> None:
    (line,) = problems(DEMO, "features.zzzz=1")
    assert line.startswith("`features.zzzz` is no key. Its keys are: rate, bands, seconds, format")


def test_a_key_under_a_value_is_no_key() -> None:
    (line,) = problems(DEMO, "seed.value=1")
    assert line.startswith("`seed.value` is no key.")


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("stage.0.epochs=0", "`stage.0.epochs` must be at least 1. Received: 0."),
        ("stage.0.rate=0", "`stage.0.rate` must be finite and above 0. Received: 0.0."),
        ("features.format=ADP", "`features.format` must be one of APD, APX, AAA, AAP, AHL. Received: 'ADP'."),
        (
            "features.format=AHL",
            "`features.format` = 'AHL' tells the mean, the highest and the lowest of a column's frames: it needs "
            "`stretch` = 'mean'. Received: 'resize'.",
        ),
        ("features.width=100", "`features.width` must be from 16 to 64. Received: 100."),
        ("features.bands=64.5", "`features.bands` must be a valid integer"),
        ("features.bands=8", "`features.bands` must be from 16 to 512. Received: 8."),
        ("features.seconds=0.5", "`features.seconds` must be from 1 to 60. Received: 0.5."),
        ("features.fmax=20000", "`features.fmax` must be from 1 to 11025.0. Received: 20000.0."),
        ("train.batch=one", "`train.batch` must be a valid integer. Received: 'one'."),
        (
            "network.precision=float16",
            "`network.precision` must be one of float32, bfloat16. Received: 'float16'.",
        ),
        ("data.strict=1", "`data.strict` must be a valid boolean. Received: 1."),
        ("mixing.alpha=-1", "`mixing.alpha` must be finite and at least 0. Received: -1.0."),
        ("mixing.alpha=nan", "`mixing.alpha` must be finite and at least 0. Received: nan."),
        ("mixing.alpha=inf", "`mixing.alpha` must be finite and at least 0. Received: inf."),
        ("stage.0.rate=inf", "`stage.0.rate` must be finite and above 0. Received: inf."),
        ("name=a/b", "`name` must be letters, digits, dots, hyphens"),
        ("seed=-1", "`seed` must be from 0 to 2147483647. Received: -1."),
        ("stage=[]", "`stage` must be given at least once"),
        ("evaluate.segment_seconds=0", "`evaluate.segment_seconds` must be from 1 to 3600. Received: 0.0."),
        ("log.images=0", "`log.images` must be at least 1."),
        ("data.kind=csv", "`data.table` is needed where `kind` is 'csv'"),
        (
            "data.fold=1",
            "`data.fold` is for the kinds csv, fat2019, esc50, esc10 only. Received: 1 with 'demo'.",
        ),
        ("augment=1", "`augment` must be an object. Received: 1."),
        ("stage.0=5", "`stage.0` must be an object. Received: 5."),
        ("stage=5", "`stage` must be a valid array. Received: 5."),
    ],
)
def test_types_and_ranges(override: str, line: str) -> None:
    found = problems(DEMO, override)
    assert len(found) == 1
    assert found[0].startswith(line)


def test_values_that_do_not_go_together_are_said() -> None:
    found = problems(DEMO, "features.seconds=40")
    assert found == ["`evaluate.segment_seconds` must be at least `features.seconds`, 40. Received: 30."]


def test_a_head_for_noisy_labels_is_refused_where_mixmatch_uses_none() -> None:
    asked = ["mixing.kind=mixmatch", "network.noisy_head=true"]
    assert problems(DEMO, *asked) == [
        "`network.noisy_head` must be false with `mixing.kind` = 'mixmatch', which uses no noisy label, unless "
        "`mixing.prior` is above 0 or `mixing.partners` is single. Received: true."
    ]
    for more in (
        "mixing.prior=0.1",
        "mixing.partners=single",
        "mixing.kind=noisy",
        "network.noisy_head=false",
    ):
        assert load_config(DEMO, [*asked, more]).mixing.kind in ("mixmatch", "noisy")


@pytest.mark.parametrize("kind", ["noisy", "mixmatch"])
def test_partners_of_noisy_clips_are_refused_where_these_take_no_part(kind: str) -> None:
    asked = [f"mixing.kind={kind}", "mixing.partners=single"]
    assert problems(DEMO, *asked, "data.noisy=false") == [
        "`data.noisy` must be true with `mixing.partners` = 'single', which draws from the noisy clips. "
        "Received: false."
    ]
    assert load_config(DEMO, asked).mixing.partners == "single"
    assert (
        load_config(DEMO, ["mixing.kind=mixup", "mixing.partners=single", "data.noisy=false"]).data.noisy
        is False
    )


def test_every_problem_is_said_at_once(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        'nmae = "x"\n[data]\nkind = "demo"\n[features]\nbands = "many"\nfmin = -1.0\nformat = "ADP"\n'
        "[mixing]\nalhpa = 1.0\nalpha = -1.0\n[[stage]]\nepochs = 0\nrate = -1.0\n[[stage]]\nepochs = -2\n",
    )
    found = problems(path, "stage.7.epochs=1", "nonsense", "train.batch=1", "name=a b")
    expected = (
        "`stage.7.epochs`: '7' must be",
        "an override is `key=value`",
        "`nmae` is no key.",
        "`mixing.alhpa` is no key.",
        "`features.bands` must be a valid integer",
        "`features.format` must be one of",
        "`features.fmin` must be from 0",
        "`mixing.alpha` must be finite",
        "`stage.0.epochs` must be at least 1",
        "`stage.0.rate` must be finite",
        "`stage.1.epochs` must be at least 1",
        "`train.batch` must be at least 2",
        "`name` must be letters",
    )
    for start in expected:
        assert sum(line.startswith(start) for line in found) == 1, (start, found)
    assert len(found) == len(expected)


# Files


def test_a_missing_file_is_said_with_the_shipped_ones(tmp_path: Path) -> None:
    (line,) = problems(tmp_path / "no.toml")
    assert line.startswith("no such config. fatk/configs has: ")
    assert "demo.toml" in line


def test_a_folder_is_no_config(tmp_path: Path) -> None:
    (line,) = problems(tmp_path)
    assert line.startswith("cannot be read")


def test_broken_toml_is_said_with_its_line(tmp_path: Path) -> None:
    (line,) = problems(write(tmp_path, "seed = 1\n[data\n"))
    assert line.startswith("not TOML: ")
    assert "line 2" in line


def test_a_file_that_is_no_text_is_said(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(b"\xff\xfe\x00")
    (line,) = problems(path)
    assert line.startswith("cannot be read")


# Paths

CSV = '[data]\nkind = "csv"\npath = "clips"\ntable = "../t.csv"\nrecords = "/abs/records"\n'


def test_paths_of_a_file_are_relative_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path / "configs", CSV)
    monkeypatch.chdir(tmp_path / "elsewhere")
    data = load_config("../configs/try.toml").data
    assert data.path == str(tmp_path / "configs" / "clips")
    assert data.table == str(tmp_path / "t.csv")
    assert data.records == "/abs/records"


def test_paths_of_overrides_are_relative_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "configs").mkdir()
    path = write(tmp_path / "configs", CSV)
    monkeypatch.chdir(tmp_path)
    data = load_config(path, ["data.path=mine", "data.table=/abs/t.csv", "data.records=there"]).data
    assert data == replace(
        DataSettings(kind="csv", table="x", path="x"),
        path=str(tmp_path / "mine"),
        table="/abs/t.csv",
        records=str(tmp_path / "there"),
    )


def test_an_empty_path_stays_empty(tmp_path: Path) -> None:
    path = write(tmp_path, '[data]\nkind = "demo"\nrecords = "there"\n')
    assert load_config(path).data.path == ""
    assert load_config(path, ["data.records="]).data.records == ""


SHARED = '[data]\nkind = "fat2019"\npath = "../../../shared/data/fat10"\nrecords = "../../../shareddata"\n'


def test_the_shared_folder_gives_way_to_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "checkout" / "fatk" / "configs"
    folder.mkdir(parents=True)
    path = write(folder, SHARED)
    assert load_config(path).data.path == str(tmp_path / "shared" / "data" / "fat10")
    monkeypatch.setenv("FATK_SHARED", "/elsewhere/shared")
    data = load_config(path).data
    assert data.path == "/elsewhere/shared/data/fat10"
    assert data.records == str(tmp_path / "shareddata")  # another folder, though its name begins alike


def test_a_written_config_no_longer_depends_on_where_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FATK_SHARED", str(tmp_path / "one"))
    config = load_config(ROOT / "fatk" / "configs" / "fat10.toml")
    monkeypatch.setenv("FATK_SHARED", str(tmp_path / "two"))
    assert load_config(write(tmp_path, to_toml(config))) == config
    assert config.data.path == str(tmp_path / "one" / "data" / "fat10")


# The command line

COMMAND = """
import sys
from fatk import cli, train
try:
    cli.run(lambda: train.main(sys.argv[1:]))
finally:
    print(sorted({"tensorflow", "keras", "jax", "keras_hub"} & set(sys.modules)))
"""


def command(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments],
        cwd=ROOT,
        env=os.environ | {"FATK_SHARED": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_wrong_command_line_leaves_with_a_line_a_problem_and_no_framework() -> None:
    done = command("--config", "fatk/configs/demo.toml", "mixng.alpha=0.4", "stage.0.epochs=0", "name=a/b")
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("fatk: fatk/configs/demo.toml: `") for line in lines)
    assert "Traceback" not in done.stderr
    assert done.stdout.splitlines() == ["[]"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((), "--config"),
        (("--config", "no.toml"), "no such config"),
        (("--config", "fatk/configs/demo.toml", "--resume", "--overwrite"), "not allowed with"),
        (("--config", "fatk/configs/demo.toml", "--epochs", "3"), "--epochs"),
    ],
)
def test_a_wrong_argument_is_one_line(arguments: tuple[str, ...], word: str) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert word in done.stderr
    assert done.stdout.splitlines() == ["[]"]


def test_overrides_may_stand_anywhere() -> None:
    from fatk import cli

    made = [
        cli.parse_config(cli.parser("fatk.try", "Try."), arguments)[0]
        for arguments in (
            ["--config", str(DEMO), "seed=3", "name=try"],
            ["seed=3", "--config", str(DEMO), "name=try"],
        )
    ]
    assert made[0] == made[1]
    assert isinstance(made[0], Config)
    assert (made[0].seed, made[0].name) == (3, "try")


def test_an_option_of_several_numbers_ends_at_an_override() -> None:
    from fatk import cli

    arguments = cli.parser("fatk.try", "Try.")
    arguments.add_argument("--tta", type=int, nargs="+")
    arguments.add_argument("--out")
    given = ["--tta", "1", "10", "seed=3", "--config", str(DEMO), "--out", "a=b", "name=try"]
    config, parsed = cli.parse_config(arguments, given)
    assert (config.seed, config.name, parsed.tta, parsed.out) == (3, "try", [1, 10], "a=b")


def test_settings_may_stand_before_and_behind_a_positional_and_a_switch() -> None:
    from fatk import cli

    for given in (
        ["--prune", "name=try", "space.toml", "seed=3"],
        ["name=try", "space.toml", "--prune", "seed=3"],
    ):
        arguments = cli.parser("fatk.try", "Try.")
        arguments.add_argument("--prune", action="store_true")
        arguments.add_argument("space")
        config, parsed = cli.parse_config(arguments, ["--config", str(DEMO), *given])
        assert (config.seed, config.name, parsed.space, parsed.prune) == (3, "try", "space.toml", True)


def test_a_key_that_is_no_more_is_passed_over_in_a_file_but_is_no_key(tmp_path: Path) -> None:
    """Runs of earlier versions are read; whoever asks for it now is told."""
    wanted = replace(load_config(DEMO), name="try")
    earlier = to_toml(wanted).replace("[train]\n", "[train]\nbackground = false\n")
    assert load_config(write(tmp_path, earlier)) == wanted
    assert problems(DEMO, "train.background=true")[0].startswith("`train.background` is no key.")
