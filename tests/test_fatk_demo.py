"""The demo set: the same everywhere, in FSDKaggle2019's layout, and fit to be learned."""

import csv
import hashlib
import re
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fatk import demo_set, demo_sounds
from fatk.demo_set import CLASSES, POOLS, Clip, plan_clip, render_clip, write_demo_set

SEED, RATE = 2019, 22050
COUNTS = {"train_curated": 20, "train_noisy": 6, "test": 12}


def write_small(folder: Path) -> None:
    write_demo_set(folder, curated=20, noisy=6, test=12)


def hashes(folder: Path) -> dict[str, str]:
    """Relative path -> digest of every file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def table(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def plans(pool: str, count: int) -> list[Clip]:
    return [plan_clip(SEED, pool, index) for index in range(count)]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "set"
    write_small(folder)
    return folder


def test_classes_are_sorted_and_as_awkward_as_the_real_ones() -> None:
    assert list(CLASSES) == sorted(CLASSES)
    assert len(set(CLASSES)) == 10
    assert any("(" in label for label in CLASSES)
    assert any("-" in label for label in CLASSES)
    assert not any("," in label for label in CLASSES)


def test_two_folders_hold_the_same_bytes(small: Path, tmp_path: Path) -> None:
    write_small(tmp_path / "again")
    assert hashes(tmp_path / "again") == hashes(small)


def test_a_clip_does_not_depend_on_how_many_others_there_are(small: Path, tmp_path: Path) -> None:
    write_demo_set(tmp_path, curated=3, noisy=2, test=1)
    fewer, more = hashes(tmp_path), hashes(small)
    clips = [name for name in fewer if name.endswith(".wav")]
    assert len(clips) == 6
    assert all(fewer[name] == more[name] for name in clips)


def test_another_seed_gives_other_clips() -> None:
    ours, other = plan_clip(SEED, "test", 0), plan_clip(SEED + 1, "test", 0)
    assert ours.name != other.name
    assert ours.seconds != other.seconds


@pytest.mark.parametrize(
    ("pool", "seconds", "rms"),
    [("train_curated", 2.7251, 6639.4), ("train_noisy", 2.2797, 2470.7), ("test", 2.8062, 3317.8)],
)
def test_the_first_clips_are_those_of_format_1(pool: str, seconds: float, rms: float) -> None:
    # A change here is a change of the set: raise demo_set.FORMAT, so that written sets are renewed.
    clip = plan_clip(SEED, pool, 0)
    audio = render_clip(clip, RATE).astype(np.float64)
    assert demo_set.FORMAT == 1
    assert clip.seconds == pytest.approx(seconds, abs=1e-4)
    assert np.sqrt(np.mean(audio**2)) == pytest.approx(rms, rel=1e-4)


def test_layout_and_tables(small: Path) -> None:
    tables = {"train_curated.csv", "train_noisy.csv", "test_labels.csv", "sample_submission.csv"}
    assert {path.name for path in small.iterdir()} == {*POOLS, *tables, "demo_set.json"}
    for pool, count in COUNTS.items():
        header, *rows = table(small / ("test_labels.csv" if pool == "test" else f"{pool}.csv"))
        assert header == ["fname", "labels"]
        assert rows == sorted([clip.name, ",".join(clip.given)] for clip in plans(pool, count))
        assert sorted(path.name for path in (small / pool).iterdir()) == [name for name, _ in rows]
        assert all(re.fullmatch(r"[0-9a-f]{8}\.wav", name) for name, _ in rows)
    header, *rows = table(small / "sample_submission.csv")
    assert header == ["fname", *CLASSES]
    assert rows == [
        [clip.name, *["0"] * 10] for clip in sorted(plans("test", 12), key=lambda clip: clip.name)
    ]
    assert '"' in (small / "train_curated.csv").read_text()  # several labels: quoted, as in the real table


def test_names_never_meet() -> None:
    names = [plan_clip(SEED, pool, index).name for pool in POOLS for index in range(100)]
    assert len(set(names)) == 300


def test_files_are_mono_16_bit_and_hold_the_rendered_clip(small: Path) -> None:
    for pool in POOLS:
        clip = plan_clip(SEED, pool, 1)
        info = soundfile.info(small / pool / clip.name)
        assert (info.channels, info.samplerate, info.subtype) == (1, RATE, "PCM_16")
        audio, _ = soundfile.read(small / pool / clip.name, dtype="int16")
        np.testing.assert_array_equal(audio, render_clip(clip, RATE))


@pytest.mark.parametrize("pool", POOLS)
def test_levels_and_lengths(pool: str) -> None:
    for clip in plans(pool, 20):
        audio = render_clip(clip, RATE) / 32768
        assert audio.size == round(clip.seconds * RATE)
        assert 0.7 <= clip.seconds <= 3
        assert 20 * np.log10(np.abs(audio).max()) == pytest.approx(clip.peak, abs=0.01)
        assert -15 <= clip.peak <= -1  # never clipped
        assert np.sqrt(np.mean(audio**2)) > 1e-3  # never silent
        assert abs(audio.mean()) < 0.02


@pytest.mark.parametrize("label", CLASSES)
def test_every_sound_is_heard_at_other_rates_and_short_lengths(label: str) -> None:
    for key in range(10):
        rate, seconds = ((16000, 0.4), (44100, 1.1))[key % 2]  # the shortest sound in a clip has 0.49 s
        sound = demo_sounds.Sound(label, 0.0, seconds, 0.0)
        audio = demo_sounds.render_sound(sound, demo_sounds.stream(SEED, key), rate)
        assert audio.shape == (int(seconds * rate),)
        assert np.isfinite(audio).all()
        assert audio.std() > 0.1


def test_every_class_is_in_curated_and_test() -> None:
    for pool in ("train_curated", "test"):
        clips = plans(pool, 120)
        assert all(clip.given == clip.truth for clip in clips)
        heard = [label for clip in clips for label in clip.truth]
        assert min(heard.count(label) for label in CLASSES) >= 12
        assert {len(clip.truth) for clip in clips} == {1, 2, 3}


def test_half_of_the_noisy_labels_are_wrong_missing_or_too_many() -> None:
    clips = plans("train_noisy", 240)
    assert 0.4 < np.mean([clip.given != clip.truth for clip in clips]) < 0.6
    assert all(clip.given and list(clip.given) == sorted(set(clip.given)) for clip in clips)
    sizes = {np.sign(len(clip.given) - len(clip.truth)) for clip in clips if clip.given != clip.truth}
    assert sizes == {-1, 0, 1}


def test_nothing_is_written_the_second_time(small: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in small.rglob("*")}
    write_small(small)
    assert {path: path.stat().st_mtime_ns for path in small.rglob("*")} == before


def test_an_interrupted_writing_is_completed(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered = []

    def render_nine(clip: Clip, rate: int) -> object:
        if len(rendered) == 9:
            raise KeyboardInterrupt
        rendered.append(clip)
        return render_clip(clip, rate)

    with monkeypatch.context() as patch:
        patch.setattr(demo_set, "render_clip", render_nine)
        with pytest.raises(KeyboardInterrupt):
            write_small(tmp_path)
    assert not (tmp_path / "demo_set.json").exists()
    assert len(list(tmp_path.rglob("*.wav"))) == 9
    write_small(tmp_path)
    assert hashes(tmp_path) == hashes(small)


def test_other_parameters_replace_the_set(small: Path, tmp_path: Path) -> None:
    write_demo_set(tmp_path, seed=1, curated=25, noisy=1, test=3, rate=16000)
    write_small(tmp_path)
    assert hashes(tmp_path) == hashes(small)


def test_a_folder_with_other_data_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "train_curated.csv").write_text("fname,labels\n")
    with pytest.raises(ValueError, match=r"Received: .*other files"):
        write_small(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["train_curated.csv"]


@pytest.mark.parametrize("wrong", [{"rate": 8000}, {"curated": -1}, {"seed": -1}])
def test_impossible_parameters_are_refused(wrong: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Received: .*" + str(next(iter(wrong.values())))):
        write_demo_set(tmp_path / "set", **wrong)
    assert not (tmp_path / "set").exists()


def mel_decibels(clip: Clip) -> np.ndarray:
    """`(bands, frames)` float64."""
    audio = render_clip(clip, RATE) / 32768
    power = librosa.feature.melspectrogram(y=audio, sr=RATE, n_fft=1280, hop_length=345, n_mels=64)
    return librosa.power_to_db(power, ref=np.max)


def test_the_noisy_pool_sounds_filtered() -> None:
    def treble(pool: str) -> float:
        """Mean share of the upper 16 mel bands (4.6 kHz and up) in a clip's energy, decibels."""
        shares = []
        for clip in plans(pool, 40):
            power = 10 ** (mel_decibels(clip) / 10)
            shares.append(10 * np.log10(power[48:].sum() / power.sum()))
        return float(np.mean(shares))

    assert abs(treble("train_curated") - treble("test")) < 5
    assert treble("train_curated") - treble("train_noisy") > 6


def test_single_sounds_are_separable_by_simple_statistics() -> None:
    clips = [clip for clip in plans("train_curated", 200) if len(clip.truth) == 1]
    images = [mel_decibels(clip) for clip in clips]
    changes = [np.abs(np.diff(image, axis=1)).mean(axis=1) for image in images]
    statistics = np.array(
        [
            np.r_[image.mean(axis=1), image.std(axis=1), change]
            for image, change in zip(images, changes, strict=True)
        ]
    )
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    accuracy = cross_val_score(model, statistics, [clip.truth[0] for clip in clips], cv=4).mean()
    print(f"{len(clips)} clips, accuracy {accuracy:.3f}")
    assert accuracy >= 0.8  # chance is 0.1
