"""What another process is at is waited for, refused or left until later; who is killed holds nothing up."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from fatk import cli, locks, prepare
from fatk.config import load_config

ROOT = Path(__file__).resolve().parents[1]


def started(code: str, *arguments: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture
def holder() -> Iterator[Callable[[Path], subprocess.Popen]]:
    """Starts a process that has a path to itself until it is killed."""
    running = []

    def start(path: Path) -> subprocess.Popen:
        running.append(
            started(
                """
                import sys, time
                from pathlib import Path
                from fatk import locks
                with locks.hold(Path(sys.argv[1])):
                    print("held", flush=True)
                    time.sleep(600)
                """,
                path,
            )
        )
        assert running[-1].stdout.readline() == "held\n"
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_killed_process_is_waited_for_no_longer(
    tmp_path: Path, holder: Callable, capsys: pytest.CaptureFixture
) -> None:
    place = tmp_path / "runs" / "a"
    other = holder(place)
    with locks.hold(place, wait=False) as free:
        assert not free
    threading.Timer(0.5, os.kill, (other.pid, signal.SIGKILL)).start()
    before = time.monotonic()
    with locks.hold(place) as free:
        assert free
        assert time.monotonic() - before > 0.3
    said = capsys.readouterr().out
    assert "a: another process is at it; waiting" in " ".join(said.split())
    assert not list(place.parent.iterdir())  # nothing is left of the lock


def test_a_run_of_another_process_is_refused(tmp_path: Path, holder: Callable) -> None:
    holder(tmp_path / "mine")
    with (
        pytest.raises(cli.UserError, match=r"mine: another process is at it\."),
        locks.alone(tmp_path / "mine"),
    ):
        raise AssertionError("it was let in")
    with locks.alone(tmp_path / "free"):
        pass


def test_work_is_shared(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Two workers, each job done once, both with all values; what fails releases its folder."""
    made: list[tuple[str, str]] = []

    def work(worker: str, job: str) -> str:
        mark = tmp_path / job / "done"
        if not mark.exists():
            mark.parent.mkdir()
            time.sleep(0.05)
            made.append((worker, job))
            mark.write_text(job.upper())
        return mark.read_text()

    def all_of(worker: str) -> None:
        jobs = {job: (tmp_path / job, lambda job=job: work(worker, job)) for job in "abcdef"}
        given[worker] = locks.share(jobs)

    given: dict[str, dict[str, str]] = {}
    workers = [threading.Thread(target=all_of, args=(name,)) for name in ("one", "two")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert sorted(job for _, job in made) == list("abcdef")
    assert {name for name, _ in made} == {"one", "two"}
    assert (
        list(given["one"].items()) == list(given["two"].items()) == [(job, job.upper()) for job in "abcdef"]
    )

    def broken() -> str:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        locks.share({"g": (tmp_path / "g", broken)})
    with locks.hold(tmp_path / "g", wait=False) as free:
        assert free


def test_what_is_busy_is_done_last(tmp_path: Path, holder: Callable, capsys: pytest.CaptureFixture) -> None:
    other = holder(tmp_path / "a")
    order: list[str] = []

    def work(job: str) -> int:
        order.append(job)
        if job == "c":
            threading.Timer(0.3, other.kill).start()
        return len(order)

    found = locks.share({job: (tmp_path / job, lambda job=job: work(job)) for job in "abc"})
    assert order == ["b", "c", "a"]
    assert found == {"a": 3, "b": 1, "c": 2}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Of eighty clips of noise."""
    (tmp_path / "clips").mkdir()
    noise = np.random.default_rng(0)
    for n in range(80):
        sound = 0.1 * noise.standard_normal(8000)
        soundfile.write(tmp_path / "clips" / f"{n:02d}.wav", sound, 8000)
    write_table(tmp_path, 80)
    path = tmp_path / "c.toml"
    path.write_text(
        'name = "noise"\n[data]\nkind = "csv"\npath = "clips"\ntable = "t.csv"\nrecords = "records"\n'
        "[features]\nrate = 8000\n[[stage]]\nepochs = 1\n"
    )
    return path


def write_table(folder: Path, clips: int) -> None:
    table = "".join(f"{n:02d}.wav,{'ab'[n % 2]}\n" for n in range(clips))
    (folder / "t.csv").write_text("fname,labels\n" + table)


def test_shards_that_a_process_reads_stay(config: Path, tmp_path: Path) -> None:
    """A clip joins the set while somebody trains on it as it was."""

    def shards() -> set[Path]:
        prepare.prepare(load_config(config), verbose=False)
        return set((tmp_path / "records").glob("*.tfrecord"))

    write_table(tmp_path, 79)
    before = shards()
    code = (
        "import sys, time; from pathlib import Path; from fatk import locks; locks.read(Path(sys.argv[1])); "
    )
    reader = started(code + "print('reads', flush=True); time.sleep(600)", tmp_path / "records")
    try:
        assert reader.stdout.readline() == "reads\n"
        write_table(tmp_path, 80)
        both = shards()
        assert len(before) == 2
        assert before < both
    finally:
        reader.kill()
        reader.communicate()
    after = shards()
    assert len(after) == 2
    assert both - before < after < both
    assert len(list((tmp_path / "records").glob(".reader-*"))) == 1  # our own


def test_two_processes_prepare_one_set(config: Path, tmp_path: Path) -> None:
    """One encodes, the other waits and finds all of it."""
    code = "from fatk import cli, prepare; cli.run(prepare.main)"
    pair = [started(code, "--config", config) for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in pair]
    assert [process.returncode for process in pair] == [0, 0], said
    assert sum("(nothing to encode)" in text for text in said) == 1
    made = prepare.prepare(load_config(config), verbose=False)
    assert len(made.seconds) == 80
    assert not list((tmp_path / "records").glob("*.tmp"))
