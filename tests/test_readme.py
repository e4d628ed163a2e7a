"""What the README tells a newcomer to type, typed: in a copy of the checkout, with small settings."""

import csv
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fatk.config import load_config

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.slow


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language, without their indentation."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", README, re.M | re.S)
    return ["\n".join(line.removeprefix(indent) for line in text.splitlines()) for indent, text in found]


def shell(command: str, folder: Path) -> str:
    """Run one line of the README -> what it printed. `python` is this one."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a clone holds of code, with the demo trained for an epoch as `make demo` would train it."""
    folder = tmp_path_factory.mktemp("clone")
    for room in ("fatk", "pipelines", "models"):
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    target = re.search(r"^demo:.*\n\t\$\(BIN\)/(.*)$", (ROOT / "Makefile").read_text(), re.M)
    assert target
    said = shell(f"{target[1]} stage.0.epochs=1 evaluate.crops=2 log.images=1 log.clips=1", folder)
    for what in ("SavedModel", "submission", "TensorBoard"):
        assert re.search(rf"^{what}: runs/demo/", said, re.M), said
    return folder


def commands() -> list[str]:
    """Lines of the shell blocks that run fatk."""
    return [
        line for block in blocks("sh") for line in block.splitlines() if line.startswith("python -m fatk.")
    ]


def test_there_are_commands_to_run() -> None:
    assert {line.split()[2] for line in commands()} >= {"fatk.predict", "fatk.evaluate", "fatk.features"}


@pytest.mark.parametrize("command", commands())
def test_a_command_runs(command: str, checkout: Path) -> None:
    shell(command, checkout)
    for name in re.findall(r"--(?:out|png) (\S+)", command):
        assert (checkout / name).stat().st_size > 0


def test_long_commands_are_as_their_configs_and_modules_have_it() -> None:
    """Those of `bash` blocks take too long here; their modules, configs and settings must be there."""
    lines = [line for block in blocks("bash") for line in block.replace("\\\n", "").splitlines()]
    assert lines
    for line in lines:
        _, _, module, *arguments = shlex.split(line, comments=True)
        assert importlib.util.find_spec(module), line
        config = arguments[arguments.index("--config") + 1]
        load_config(ROOT / config, [word for word in arguments if "=" in word])


def test_the_run_folder_is_as_toured(checkout: Path) -> None:
    table = README.split("## What a run leaves")[1].split("##")[0]
    named = re.findall(r"`([a-z_]+(?:\.[a-z]+|/))`", "".join(re.findall(r"^\| (.*?) \|", table, re.M)))
    assert len(named) >= 9
    for name in named:
        assert (checkout / "runs" / "demo" / name).exists(), name


def test_the_python_snippet_runs(checkout: Path) -> None:
    for number, snippet in enumerate(blocks("python")):
        (checkout / f"snippet{number}.py").write_text(snippet)
        assert "0." in shell(f"python snippet{number}.py", checkout)


def test_a_folder_of_ones_own(checkout: Path) -> None:
    config = next(block for block in blocks("toml") if 'kind = "csv"' in block)
    (checkout / "sounds").mkdir()
    with (checkout / "demo_set" / "test_labels.csv").open(newline="") as lines:
        rows = list(csv.reader(lines))[:61]
    for name, _ in rows[1:]:
        shutil.copy(checkout / "demo_set" / "test" / name, checkout / "sounds" / name)
    with (checkout / "sounds.csv").open("w", newline="") as lines:
        csv.writer(lines).writerows(rows)
    (checkout / "sounds.toml").write_text(config)
    text = README.split("## Your own folder of sounds")[1]
    typed = re.search(r"`(python -m fatk\.train --config sounds\.toml mixing[^`]*)`", text)
    assert typed
    small = "stage.0.epochs=1 train.batch=8 evaluate.crops=2 features.bands=64 log.images=1 log.clips=1"
    shell(f"{typed[1]} {small}", checkout)
    assert (checkout / "runs" / "try" / "saved_model" / "saved_model.pb").exists()
