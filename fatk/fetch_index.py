"""Where the public data sets lie, what their files are called, and what must be in them.

Sizes and checksums are those that the publishers give. Zenodo's record is asked for its own list on every
run; what is written here is held against it. Where nothing is written here, the record's word is taken.
"""

from dataclasses import dataclass

BYTES_PER_HOUR = 3600 * 44100 * 2  # mono PCM 16 bit at 44.1 kHz, as all three sets are


@dataclass(frozen=True)
class Remote:
    """One file to download."""

    name: str
    size: int = 0  # bytes; 0 where only the record tells
    checksum: str = ""  # "md5:..." or "sha256:..."; empty where only the record tells
    url: str = ""  # empty where only the record tells


@dataclass(frozen=True)
class Archive:
    """One archive, whole or split, and the folder that it becomes."""

    folder: str  # in the set's folder; the archive's own top folder gives way to it
    parts: tuple[Remote, ...]  # in the order in which they are joined; the last one ends in .zip
    files: int  # at least so many lie in the folder
    unpacked: int  # bytes, from the published hours; the archive's own sum is checked once it is there


@dataclass(frozen=True)
class DataSet:
    """One set that `fatk.fetch` knows."""

    title: str
    page: str
    archives: tuple[Archive, ...]  # small ones first: a set that cannot be read says so early
    path: str  # what `data.path` is set to, in the set's folder
    record: int = 0  # of Zenodo; 0 where the files lie elsewhere


def _split(stem: str, last: int, *known: tuple[int, str]) -> tuple[Remote, ...]:
    """A split archive: stem.z01, ..., and stem.zip at the end; (size, MD5) of each where known."""
    names = [f"{stem}.z{number:02d}" for number in range(1, last + 1)] + [f"{stem}.zip"]
    if not known:
        return tuple(Remote(name) for name in names)
    return tuple(Remote(name, size, f"md5:{md5}") for name, (size, md5) in zip(names, known, strict=True))


_DISK = 3_221_225_472  # 3 GiB: FSD50K's archives are cut there

_ESC50_COMMIT = "33c8ce9eb2cf0b1c2f8bcf322eb349b6be34dbb6"  # an archive of the branch changes with its README

SETS: dict[str, DataSet] = {
    "fsdkaggle2019": DataSet(
        title="FSDKaggle2019",
        page="https://zenodo.org/records/3612637",
        record=3612637,
        path="",
        archives=(
            Archive("FSDKaggle2019.meta", (Remote("FSDKaggle2019.meta.zip"),), 4, 10_000_000),
            Archive(
                "FSDKaggle2019.audio_train_curated",
                (Remote("FSDKaggle2019.audio_train_curated.zip"),),
                4_970,
                round(10.5 * BYTES_PER_HOUR),
            ),
            Archive(
                "FSDKaggle2019.audio_test",
                (Remote("FSDKaggle2019.audio_test.zip"),),
                4_481,
                round(12.9 * BYTES_PER_HOUR),
            ),
            Archive(
                "FSDKaggle2019.audio_train_noisy",
                _split("FSDKaggle2019.audio_train_noisy", 6),
                19_815,
                round(80 * BYTES_PER_HOUR),
            ),
        ),
    ),
    "esc50": DataSet(
        title="ESC-50",
        page="https://github.com/karolpiczak/ESC-50",
        path="ESC-50-master",
        archives=(
            Archive(
                "ESC-50-master",
                (
                    Remote(
                        "ESC-50-master.zip",
                        645_832_161,
                        "sha256:661183a6f53ef04f12c9bd618fed0ddc1713280d6c94a5a5431e844ba6f6a21f",
                        f"https://github.com/karolpiczak/ESC-50/archive/{_ESC50_COMMIT}.zip",
                    ),
                ),
                2_001,  # 2,000 clips and their table, at the least
                900_000_000,
            ),
        ),
    ),
    "fsd50k": DataSet(
        title="FSD50K",
        page="https://zenodo.org/records/4060432",
        record=4060432,
        path="",
        archives=(
            Archive(
                "FSD50K.ground_truth",
                _split("FSD50K.ground_truth", 0, (334_701, "ca27382c195e37d2269c4c866dd73485")),
                3,
                5_000_000,
            ),
            Archive(
                "FSD50K.metadata",
                _split("FSD50K.metadata", 0, (6_700_838, "b9ea0c829a411c1d42adb9da539ed237")),
                2,  # dev_clips_info_FSD50K.json and eval_clips_info_FSD50K.json, at the least
                60_000_000,
            ),
            Archive(
                "FSD50K.eval_audio",
                _split(
                    "FSD50K.eval_audio",
                    1,
                    (_DISK, "3090670eaeecc013ca1ff84fe4442aeb"),
                    (3_037_675_767, "6fa47636c3a3ad5c7dfeba99f2637982"),
                ),
                10_231,
                round(27.9 * BYTES_PER_HOUR),
            ),
            Archive(
                "FSD50K.dev_audio",
                _split(
                    "FSD50K.dev_audio",
                    5,
                    (_DISK, "faa7cf4cc076fc34a44a479a5ed862a3"),
                    (_DISK, "8f9b66153e68571164fb1315d00bc7bc"),
                    (_DISK, "1196ef47d267a993d30fa98af54b7159"),
                    (_DISK, "d088ac4e11ba53daf9f7574c11cccac9"),
                    (_DISK, "81356521aa159accd3c35de22da28c7f"),
                    (2_306_663_327, "c480d119b8f7a7e32fdb58f3ea4d6c5a"),
                ),
                40_966,
                round(80.4 * BYTES_PER_HOUR),
            ),
        ),
    ),
}
