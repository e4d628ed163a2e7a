"""`--overwrite` deletes a run once the new one has started, and nothing else."""

from pathlib import Path

import pytest

from fatk import cli, folders
from fatk.config import Config, load_config
from fatk.train import open_run
from tests.small_runs import write_beeps


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.chdir(tmp_path)
    return load_config(write_beeps(tmp_path))


def begin(config: Config, words: str) -> folders.Run:
    """A run that has trained: `words` stand for its weights."""
    run = open_run(config, overwrite=False, resume=False)
    run.network.write_text(words)
    run.checkpoints.mkdir()
    return run


def there() -> list[str]:
    return sorted(path.name for path in folders.RUNS.iterdir())


def test_a_run_is_back_where_the_one_to_overwrite_it_was_killed_before_it_started(
    config: Config, capsys: pytest.CaptureFixture
) -> None:
    run = begin(config, "old")
    open_run(config, overwrite=True, resume=False)  # and no more
    assert open_run(config, overwrite=False, resume=True).network.read_text() == "old"
    assert (
        "runs/beeps: was to be overwritten, by a run that never started; it is back"
        in capsys.readouterr().out
    )
    assert there() == ["beeps"]

    # Killed even before it had a folder, and then begun again in vain.
    run.folder.rename("runs/beeps~")
    assert open_run(config, overwrite=False, resume=True).network.read_text() == "old"
    open_run(config, overwrite=True, resume=False)
    open_run(config, overwrite=True, resume=False)
    assert Path("runs/beeps~/best.keras").read_text() == "old"


def test_what_was_overwritten_does_not_come_back(config: Config) -> None:
    """Not even where some of it could not be deleted."""
    run = begin(config, "new")
    left = Path("runs/beeps~/best.keras")
    left.parent.mkdir()
    left.write_text("old")
    assert open_run(config, overwrite=False, resume=True).network.read_text() == "new"
    (left.parent / "config.toml").write_text("")
    assert open_run(config, overwrite=False, resume=True).network.read_text() == "new"
    open_run(config, overwrite=True, resume=False)
    assert left.read_text() == "new"
    assert not run.network.exists()


def test_a_run_that_was_killed_as_it_wrote_its_settings_is_overwritten(config: Config) -> None:
    half = Path("runs/beeps/config.toml.123.tmp")
    half.parent.mkdir(parents=True)
    half.write_text("seed")
    with pytest.raises(cli.UserError, match=r"runs/beeps: exists already\. Add --resume, --overwrite"):
        open_run(config, overwrite=False, resume=False)
    with pytest.raises(cli.UserError, match="runs/beeps: no run to resume"):
        open_run(config, overwrite=False, resume=True)
    assert open_run(config, overwrite=True, resume=False).config.exists()


def test_a_file_of_that_name_is_left_alone(config: Config) -> None:
    folders.RUNS.mkdir()
    Path("runs/beeps").write_text("somebody's notes")
    with pytest.raises(cli.UserError, match=r"runs/beeps: is no run, and is left alone"):
        open_run(config, overwrite=True, resume=False)
    assert there() == ["beeps"]
