"""What requests ask for, and how one that cannot be is told which part of it is wrong."""

import asyncio
import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fatk.serve import app, tensors
from fatk.serve.refusal import Refusal
from fatk.serve.settings import ServeSettings
from tests import served
from tests.hostile import encoded, sound

RATE = served.SETTINGS.rate


# ---- what is asked


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v1/audio?tpo=3", "takes top, windows, image, waveform. Received: tpo."),
        ("/v1/explain?label=a&Label=b&c=1", "takes label. Received: Label, c."),
    ],
)
def test_misspelt_keys_of_a_query_are_refused(tmp_path: Path, path: str, words: str) -> None:
    built = app.build(served.bare(tmp_path), ServeSettings())
    status, said = asyncio.run(served.ask(built, served.several(b"x"), path))
    assert (status, json.loads(said)) == (400, {"error": f"the query {words}"})


def test_what_utf8_cannot_say_is_refused_all_the_same(tmp_path: Path) -> None:
    built = app.build(served.bare(tmp_path), ServeSettings())
    body = b'{"\\ud800": 1}'
    status, said = asyncio.run(served.ask(built, served.several(body), "/v1/models/fatk:predict"))
    assert status == 400
    assert "\\ud800" in json.loads(said)["error"]


# ---- WAV files within JSON


def wavs(*files: bytes) -> np.ndarray:
    return np.array(files, dtype=object)


def wav(seconds: float, rate: int = RATE, channels: int = 1, subtype: str = "PCM_16") -> bytes:
    return encoded(np.stack([sound(seconds, rate=rate)] * channels, axis=1), rate, subtype=subtype)


@pytest.mark.parametrize("channels", [1, 2])
def test_wavs_within_the_limit_pass(tmp_path: Path, channels: int) -> None:
    served.bare(tmp_path).check_wavs(wavs(wav(5, channels=channels), wav(1)), 5.0)


@pytest.mark.parametrize(
    ("file", "status", "words"),
    [
        (wav(5.01), 413, r"a clip may have 110250 samples, 5 s\. Received: 110470\."),
        (wav(5.01, channels=2), 413, r"Received: 110470\."),
        (wav(1, rate=8000), 400, r"must be at this model's rate, 22050 Hz\. Received: 8000\."),
        (wav(1, subtype="PCM_24"), 400, r"not a WAV file of 16-bit PCM \(Can only read 16-bit .*24\)\."),
        (wav(1)[:1000], 400, r"not a WAV file of 16-bit PCM \(Data too short when trying to read string\)\."),
        (wav(0), 400, r"holds no samples\."),
        (b"hello", 400, "not a WAV file"),
        (b"", 400, "not a WAV file"),
    ],
)
def test_a_wav_that_does_not_do_is_named(tmp_path: Path, file: bytes, status: int, words: str) -> None:
    with pytest.raises(Refusal, match=rf"^`audio_bytes\[1\]`:? .*{words}") as refused:
        served.bare(tmp_path).check_wavs(wavs(wav(1), file, wav(1)), 5.0)
    assert refused.value.status == status


@pytest.mark.parametrize("value", [{"b64": "%"}, {"b64": "é"}, "\ud800", 3])
def test_bytes_that_are_none_are_named_by_their_row(value: Any) -> None:
    spec = tf.TensorSpec([None], tf.string)
    signature = SimpleNamespace(structured_input_signature=((), {"audio_bytes": spec}))
    good = {"b64": base64.b64encode(b"RIFF").decode()}
    with pytest.raises(Refusal, match=r"^`audio_bytes\[1\]`") as refused:
        tensors.arrays(tensors.Query("wav", True, [good, value]), signature)
    assert refused.value.status == 400
