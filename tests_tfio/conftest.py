"""What these tests share: a quiet TensorFlow, a small demo set, and soundfile out of the way."""

from pathlib import Path

import pytest

import fatk  # noqa: F401 - chooses the backend before anything imports Keras
from fatk import runtime

runtime.quiet_tensorflow()

from fatk.demo_set import write_demo_set  # noqa: E402
from pipelines import decode  # noqa: E402

RATE = 22050


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a demo set: 60 curated clips, 30 noisy, 20 to test on."""
    folder = tmp_path_factory.mktemp("demo") / "set"
    write_demo_set(folder, curated=60, noisy=30, test=20, rate=RATE)
    return folder


@pytest.fixture
def nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is decoded or resampled in Python fails the test."""

    def refuse(*given: object, **named: object) -> None:
        raise AssertionError("tensorflow-io was passed over")

    monkeypatch.setattr(decode, "_decode_by_soundfile", refuse)
    monkeypatch.setattr(decode, "_resample_by_soxr", refuse)
