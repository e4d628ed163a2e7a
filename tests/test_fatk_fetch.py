"""`python -m fatk.fetch` against a server on this machine that has the faults of the web."""

import hashlib
import shutil
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

from fatk import cli, download, fetch
from fatk.fetch_index import SETS, DataSet, Remote
from tests.faulty_site import Site, publish, zipped
from tests.split_zip import noise, split_zip

AUDIO = ("audio_train_curated", "audio_test", "audio_train_noisy")
NOISY = "FSDKaggle2019.audio_train_noisy"
CURATED = "FSDKaggle2019.audio_train_curated.zip"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with Site() as server:
        monkeypatch.setenv("FATK_ZENODO", server.url)
        monkeypatch.setenv("FATK_GITHUB", f"{server.url}/")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(download, "DELAYS", (0.0,) * 4)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def reduced(dataset: DataSet) -> DataSet:
    """The set as the index has it, with room for two files a folder and nothing known beforehand."""
    return replace(
        dataset,
        archives=tuple(
            replace(archive, files=2, unpacked=1000, parts=tuple(Remote(part.name) for part in archive.parts))
            for archive in dataset.archives
        ),
    )


@pytest.fixture
def kaggle(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """FSDKaggle2019 in small on the server -> what must lie on disk, by path."""
    monkeypatch.setitem(SETS, "fsdkaggle2019", reduced(SETS["fsdkaggle2019"]))
    wanted = {
        "FSDKaggle2019.meta/vocabulary.csv": b"0,Accordion\n",
        "FSDKaggle2019.meta/test_post_competition.csv": b"fname,labels\n",
        **{f"FSDKaggle2019.{name}/{n}.wav": noise(n, 200_000) for name in AUDIO for n in (1, 2)},
    }
    folders = {name: {p: c for p, c in wanted.items() if p.startswith(f"{name}/")} for name in _folders()}
    files = {f"{name}.zip": zipped(inside) for name, inside in folders.items() if name != NOISY}
    made = tmp_path / "made"
    made.mkdir()
    files.update({path.name: path.read_bytes() for path in split_zip(made, NOISY, folders[NOISY], 64_000)})
    assert len(files) == 3 + 7
    publish(site, 3612637, files)
    return wanted


def _folders() -> list[str]:
    return [archive.folder for archive in SETS["fsdkaggle2019"].archives]


def run(*arguments: str) -> int:
    """The command as the shell sees it -> its exit code."""
    with pytest.raises(SystemExit) as left:
        cli.run(lambda: fetch.main(arguments))
    assert isinstance(left.value.code, int)
    return left.value.code


def on_disk(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What stands on stderr, which must be one line of ours."""
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fatk: ")
    return line


def test_a_set_arrives_in_its_layout_and_a_second_run_does_nothing(
    site: Site, kaggle: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = tmp_path / "data" / "set"
    assert run("fsdkaggle2019", "--to", str(to)) == 0
    assert on_disk(to) == kaggle
    assert {path.name for path in to.iterdir()} == set(_folders())
    told = capsys.readouterr().out
    assert f"{sum(len(c) for p, c in site.files.items() if 'files' in p) / 1e6:.1f} MB to download" in told
    assert "MB of disk needed" in told
    assert max(Counter(name for name, _ in site.asked).values()) == 1
    site.asked.clear()
    assert run("fsdkaggle2019", "--to", str(to)) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert site.asked == []
    assert on_disk(to) == kaggle


def test_connections_that_break_go_on_where_they_broke(
    site: Site, kaggle: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site.drops = {CURATED: [100_000, 0, 150_000], f"{NOISY}.z03": [0], "FSDKaggle2019.audio_test.zip": [1]}
    assert run("fsdkaggle2019", "--to", str(tmp_path / "set")) == 0
    assert on_disk(tmp_path / "set") == kaggle
    starts = [int(wanted[6:-1]) for wanted in site.ranges_of(CURATED) if wanted]
    assert len(starts) == 3
    assert 0 < starts[0] == starts[1] <= 100_000 < starts[2] <= 250_000
    assert "the connection broke at" in capsys.readouterr().out


def test_two_at_once_do_not_write_into_the_same_files(
    site: Site,
    kaggle: dict[str, bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cli, "progress", lambda *_: nullcontext(lambda *_: None))  # one screen has one bar
    with ThreadPoolExecutor(2) as both:
        for done in [both.submit(fetch.fetch, SETS["fsdkaggle2019"], tmp_path / "set") for _ in range(2)]:
            done.result(300)
    assert on_disk(tmp_path / "set") == kaggle
    loaded = Counter(name for name, _ in site.asked if name.startswith("FSDKaggle2019"))
    assert len(loaded) == 10
    assert max(loaded.values()) == 1
    assert capsys.readouterr().out.count("is ready in") == 2


def test_a_server_without_ranges_sends_it_all_again(
    site: Site, kaggle: dict[str, bytes], tmp_path: Path
) -> None:
    site.ranges = False
    site.drops = {CURATED: [100_000, 70_000]}
    assert run("fsdkaggle2019", "--to", str(tmp_path / "set")) == 0
    assert on_disk(tmp_path / "set") == kaggle
    assert [bool(wanted) for wanted in site.ranges_of(CURATED)] == [False, True, True]


def test_a_link_that_breaks_all_the_time_but_brings_something_gets_there(
    site: Site, kaggle: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_BLOCK", 10_000)
    monkeypatch.setattr(download, "_PROGRESS", 20_000)
    site.drops = {CURATED: [30_000] * 20}
    assert run("fsdkaggle2019", "--to", str(tmp_path / "set")) == 0
    assert on_disk(tmp_path / "set") == kaggle
    assert len(site.ranges_of(CURATED)) > len(download.DELAYS) + 1


def test_tries_come_to_an_end_and_the_next_run_goes_on(
    site: Site, kaggle: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site.drops = {CURATED: [100_000] + [0] * 100}
    assert run("fsdkaggle2019", "--to", str(tmp_path / "set")) == 2
    line = one_line(capsys)
    assert CURATED in line
    assert "given up after 5 tries" in line
    part = tmp_path / "set" / "archives" / f"{CURATED}.part"
    had = part.stat().st_size
    assert 0 < had <= 100_000
    site.drops.clear()
    site.asked.clear()
    assert run("fsdkaggle2019", "--to", str(tmp_path / "set")) == 0
    assert site.ranges_of(CURATED) == [f"bytes={had}-"]
    assert "FSDKaggle2019.meta.zip" not in dict(site.asked)  # it was unpacked by the first run
    assert on_disk(tmp_path / "set") == kaggle


def test_ctrl_c_keeps_what_has_come(
    site: Site, kaggle: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = zipped({"a.wav": noise(1, 3 * download.MIB), "b.wav": b""})
    listed = {path.split("/")[-2]: content for path, content in site.files.items() if "/files/" in path}
    publish(site, 3612637, {**listed, CURATED: large})

    @contextmanager
    def pressed(title: str, total: int, unit: str) -> Iterator[Callable[[], None]]:
        def advance() -> None:
            if title == CURATED:
                raise KeyboardInterrupt

        yield advance

    with monkeypatch.context() as patch:
        patch.setattr(cli, "progress", pressed)
        assert run("fsdkaggle2019", "--to", str(tmp_path / "set")) == 130
    store = tmp_path / "set" / "archives"
    assert [path.name for path in store.iterdir()] == [f"{CURATED}.part"]
    assert run("fsdkaggle2019", "--to", str(tmp_path / "set")) == 0
    (_, wanted) = site.ranges_of(CURATED)
    assert int(wanted[6:-1]) >= download.MIB
    assert (tmp_path / "set/FSDKaggle2019.audio_train_curated/a.wav").stat().st_size == 3 * download.MIB


def test_a_wrong_byte_once_is_mended(
    site: Site, kaggle: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site.wrong[f"{NOISY}.z04"] = 1
    assert run("fsdkaggle2019", "--to", str(tmp_path / "set")) == 0
    assert on_disk(tmp_path / "set") == kaggle
    assert site.ranges_of(f"{NOISY}.z04") == ["", ""]
    assert "loading it once more" in capsys.readouterr().out


def test_a_wrong_byte_always_is_one_line_with_both_checksums(
    site: Site, kaggle: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site.wrong[CURATED] = 100
    assert run("fsdkaggle2019", "--to", str(tmp_path / "set")) == 2
    line = one_line(capsys)
    content = bytearray(site.files[f"/api/records/3612637/files/{CURATED}/content"])
    right = hashlib.md5(content).hexdigest()
    content[len(content) // 2] ^= 1
    found = hashlib.md5(content).hexdigest()
    assert f"{CURATED}: wrong checksum, expected md5:{right} but got {found}, twice" in line
    assert len(site.ranges_of(CURATED)) == 2
    assert list((tmp_path / "set" / "archives").iterdir()) == []


def test_a_part_that_was_spoilt_on_disk_is_not_trusted(
    site: Site, kaggle: dict[str, bytes], tmp_path: Path
) -> None:
    store = tmp_path / "set" / "archives"
    store.mkdir(parents=True)
    size = len(site.files[f"/api/records/3612637/files/{CURATED}/content"])
    (store / f"{CURATED}.part").write_bytes(b"x" * 1000)
    (store / f"{NOISY}.z01.part").write_bytes(b"x" * size)  # longer than the file
    (store / f"{NOISY}.z02").write_bytes(b"x")  # a whole file, but a wrong one
    assert run("fsdkaggle2019", "--to", str(tmp_path / "set")) == 0
    assert on_disk(tmp_path / "set") == kaggle
    assert site.ranges_of(CURATED) == ["bytes=1000-", ""]
    assert site.ranges_of(f"{NOISY}.z01") == [""]


def test_kept_archives_are_not_loaded_again(site: Site, kaggle: dict[str, bytes], tmp_path: Path) -> None:
    to = tmp_path / "set"
    assert run("fsdkaggle2019", "--to", str(to), "--keep-archives") == 0
    assert len(list((to / "archives").iterdir())) == 10
    shutil.rmtree(to / NOISY)
    site.asked.clear()
    assert run("fsdkaggle2019", "--to", str(to)) == 0
    assert [name for name, _ in site.asked] == ["3612637"]
    assert {p: c for p, c in on_disk(to).items() if "archives/" not in p} == kaggle
    assert len(list((to / "archives").iterdir())) == 3  # what this run unpacked, it deleted


def test_a_busy_server_is_asked_again_and_a_missing_file_is_not(
    site: Site, kaggle: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site.busy = Counter({"3612637": 2, CURATED: 2})
    del site.files["/api/records/3612637/files/FSDKaggle2019.audio_test.zip/content"]
    assert run("fsdkaggle2019", "--to", str(tmp_path / "set")) == 2
    assert "FSDKaggle2019.audio_test.zip/content: the server answers 404" in one_line(capsys)
    assert len(site.ranges_of(CURATED)) == 3
    assert len(site.ranges_of("FSDKaggle2019.audio_test.zip")) == 1


def test_a_host_that_is_not_there(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for variable, name in (("FATK_ZENODO", "fsd50k"), ("FATK_GITHUB", "esc50")):
        monkeypatch.setenv(variable, f"http://127.0.0.1:{port}")
        assert run(name, "--to", str(tmp_path / name)) == 2
        assert "127.0.0.1 cannot be reached (NewConnectionError); given up after 3" in one_line(capsys)


def test_a_wrong_name_is_answered_with_the_choices(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("esc51", "--to", "x") == 2
    line = one_line(capsys)
    assert all(name in line for name in ("esc51", "fsdkaggle2019", "esc50", "fsd50k"))


def test_a_disk_that_is_too_small(
    site: Site,
    kaggle: dict[str, bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda path: SimpleNamespace(free=99_000_000))
    assert run("fsdkaggle2019", "--to", str(tmp_path / "set")) == 2
    assert "needed, 99.0 MB free" in one_line(capsys)
    assert [name for name, _ in site.asked] == ["3612637"]
    assert not (tmp_path / "set").exists()


def test_the_busiest_moment_of_the_disk(tmp_path: Path) -> None:
    """Worked by hand: with 10 and 20 to load and 30 and 50 unpacked, 40 + 70 - 10, or 110 with both kept."""
    first, second = SETS["fsdkaggle2019"].archives[:2]
    todo = [
        replace(first, unpacked=30, parts=(Remote("a", 10),)),
        replace(second, unpacked=50, parts=(Remote("b", 20),)),
    ]
    assert fetch._space(todo, tmp_path, keep=False) == (30, 100 + fetch._SPARE)
    assert fetch._space(todo, tmp_path, keep=True) == (30, 110 + fetch._SPARE)
    (tmp_path / "b.part").write_bytes(b"12345")
    assert fetch._space(todo, tmp_path, keep=False) == (25, 95 + fetch._SPARE)


def test_a_folder_that_is_not_whole_is_left_alone(
    site: Site, kaggle: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / NOISY / "mine.wav"
    mine.parent.mkdir()
    mine.write_bytes(b"1")
    assert run("fsdkaggle2019", "--to", str(tmp_path)) == 2
    assert "1 files, but 2 belong there" in one_line(capsys)
    assert mine.exists()
    assert site.asked == []


def test_an_archive_with_too_few_files_or_one_that_climbs_out(
    site: Site, kaggle: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = {path.split("/")[-2]: content for path, content in site.files.items() if "/files/" in path}
    for inside, message in (
        ({"a.wav": b"1"}, f"{CURATED}: 1 files, but 2 should be in it"),
        ({"a.wav": b"1", "../../../b.wav": b"2"}, "'../../../b.wav' would be written outside"),
    ):
        publish(site, 3612637, {**listed, CURATED: zipped(inside)})
        assert run("fsdkaggle2019", "--to", str(tmp_path / "set")) == 2
        assert message in one_line(capsys)
        assert not list(tmp_path.rglob("b.wav"))


def test_a_record_is_held_against_what_is_known(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [part.name for archive in SETS["fsd50k"].archives for part in archive.parts]
    publish(site, 4060432, dict.fromkeys(names, b"not it"))
    assert run("fsd50k", "--to", str(tmp_path)) == 2
    line = one_line(capsys)
    assert "lists FSD50K.ground_truth.zip with 6 bytes" in line
    assert "md5:ca27382c195e37d2269c4c866dd73485 were published" in line
    for content, message in (
        (b'{"files": [{"key": "x"}]}', "not the list of files"),
        (b"[]", "not the list of files"),
        (b"<html>", "not JSON"),
    ):
        site.files["/api/records/4060432"] = content
        assert run("fsd50k", "--to", str(tmp_path)) == 2
        assert message in one_line(capsys)
    publish(site, 3612637, {"FSDKaggle2019.meta.zip": b"1"})
    assert run("fsdkaggle2019", "--to", str(tmp_path)) == 2
    assert f"lists no file {CURATED}" in one_line(capsys)


def test_esc50_comes_from_github_without_ranges_or_lengths(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (archive,) = SETS["esc50"].archives
    (part,) = archive.parts
    content = zipped({"ESC-50-33c8/audio/1-1-A-0.wav": noise(1, 200_000), "ESC-50-33c8/meta/esc50.csv": b"x"})
    made = replace(part, size=len(content), checksum=f"sha256:{hashlib.sha256(content).hexdigest()}")
    monkeypatch.setitem(
        SETS, "esc50", replace(SETS["esc50"], archives=(replace(archive, files=2, parts=(made,)),))
    )
    site.files[urlsplit(part.url).path] = content
    site.ranges = site.lengths = False
    site.drops = {part.url.rsplit("/", 1)[1]: [100_000]}
    assert run("esc50", "--to", str(tmp_path)) == 0
    assert set(on_disk(tmp_path)) == {"ESC-50-master/audio/1-1-A-0.wav", "ESC-50-master/meta/esc50.csv"}
    assert len(site.asked) == 2


def test_the_index() -> None:
    """Against the sets' own papers and records: clips, parts, and 24,671,691,926 bytes of FSD50K's audio."""
    parts = {name: [p for a in dataset.archives for p in a.parts] for name, dataset in SETS.items()}
    assert sum(p.size for p in parts["fsd50k"] if "audio" in p.name) == 24_671_691_926
    assert [p.name.rsplit(".", 1)[1] for p in SETS["fsdkaggle2019"].archives[-1].parts] == [
        *(f"z0{n}" for n in range(1, 7)),
        "zip",
    ]
    assert [p.name.rsplit(".", 1)[1] for p in SETS["fsd50k"].archives[-1].parts] == [
        *(f"z0{n}" for n in range(1, 6)),
        "zip",
    ]
    assert {a.folder: a.files for a in SETS["fsdkaggle2019"].archives} == {
        "FSDKaggle2019.meta": 4,
        "FSDKaggle2019.audio_train_curated": 4970,
        "FSDKaggle2019.audio_train_noisy": 19815,
        "FSDKaggle2019.audio_test": 4481,
    }
    for part in (p for found in parts.values() for p in found if p.checksum):
        kind, digest = part.checksum.split(":")
        assert len(bytes.fromhex(digest)) == hashlib.new(kind).digest_size
        assert part.size > 0
