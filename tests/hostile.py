"""Sounds for the service: good ones, and uploads and requests that mean no good, each with its answer."""

import base64
import io
import json
import struct

import numpy as np
import soundfile


def sound(seconds: float, seed: int = 0, rate: int = 22050) -> np.ndarray:
    """A tone in noise that is different for every seed."""
    draw = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    tone = 0.3 * np.sin(2 * np.pi * (200 + 150 * seed) * time)
    return (tone + 0.05 * draw.standard_normal(len(time))).astype(np.float32)


def encoded(waveform: np.ndarray, rate: int = 22050, kind: str = "WAV", subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, waveform, rate, format=kind, subtype=subtype)
    return file.getvalue()


def bomb(seconds: float, declared: bool) -> bytes:
    """Silence as FLAC: hours in kilobytes. `declared`: its header tells how long it is."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 44100, 2, "PCM_16", format="FLAC") as out:
        for _ in range(round(seconds)):
            out.write(np.zeros((44100, 2), np.int16))
    made = bytearray(file.getvalue())
    if not declared:
        assert made[:4] == b"fLaC"
        made[21] &= 0xF0  # 36 bits at byte 21.5: how many samples; 0 is "not known"
        made[22:26] = bytes(4)
    return bytes(made)


def cut_wav(claim: int) -> bytes:
    """A WAV of a few samples that claims `claim` bytes of them."""
    whole = bytearray(encoded(sound(0.01), subtype="PCM_16"))
    whole[40:44] = struct.pack("<I", claim)
    return bytes(whole)


def wav_at(rate: int) -> bytes:
    whole = bytearray(encoded(sound(0.01), subtype="PCM_16"))
    whole[24:28] = struct.pack("<I", rate)
    return bytes(whole)


def slow() -> str:
    """A good WAV at 8 kHz, in base64."""
    return base64.b64encode(encoded(sound(0.1, rate=8000), 8000, subtype="PCM_16")).decode()


def long_wav() -> bytes:
    """A predict request of 21 seconds."""
    file = base64.b64encode(encoded(np.zeros(21 * 22050), subtype="PCM_16")).decode()
    return json.dumps({"signature_name": "wav", "inputs": [{"b64": file}]}).encode()


UPLOADS = {
    "an empty body": (lambda: b"", 400, "empty"),
    "a text": (lambda: b"no sound at all\n" * 50, 415, "libsndfile"),
    "zeros": (lambda: bytes(5000), 415, "libsndfile"),
    "half a FLAC header": (lambda: bomb(1, True)[:30], 415, ""),
    "a bomb that says so": (lambda: bomb(600, True), 413, "20 seconds"),
    "a bomb that does not": (lambda: bomb(600, False), 413, "20 seconds"),
    "a WAV at 0 Hz": (lambda: wav_at(0), 415, ""),
    "a WAV at 4 GHz": (lambda: wav_at(4_000_000_000), 415, ""),
    "no samples": (lambda: encoded(np.zeros(0)), 415, "no samples"),
    "not a number": (lambda: encoded(np.full(500, np.nan), subtype="FLOAT"), 415, "NaN"),
    "too long": (lambda: encoded(np.zeros(21 * 8000), 8000), 413, "20 seconds"),
    "too large": (lambda: bytes(3_000_001), 413, "3 MB"),
}

BODIES = {
    "nothing": (b"", 400, "empty"),
    "no JSON": (b'{"instances": [[0.1', 400, "not JSON"),
    "not UTF-8": (b'{"instances": "\xff"}', 400, "not JSON"),
    "too deep": (b"[" * 100_000, 400, "deep"),
    "a list": (b"[1]", 400, "object"),
    "neither": (b'{"signature_name": "wav"}', 400, "either"),
    "both": (b'{"instances": [[1]], "inputs": [[1]]}', 400, "either"),
    "no rows": (b'{"instances": []}', 400, "at least one"),
    "an unknown signature": (b'{"signature_name": "smell", "inputs": [[1]]}', 404, "serving_default"),
    "a scalar": (b'{"inputs": 1}', 400, "(batch, samples)"),
    "empty rows": (b'{"instances": [[], []]}', 400, "empty"),
    "uneven rows": (b'{"instances": [[1], [1, 2]]}', 400, "ragged"),
    "words": (b'{"instances": [["a"]]}', 400, "numbers"),
    "not finite": (b'{"instances": [[1e999]]}', 400, "finite"),
    "NaN": (b'{"instances": [[NaN]]}', 400, "finite"),
    "a strange name": (b'{"inputs": {"sound": [[1]]}}', 400, "audio"),
    "lengths that lie": (
        b'{"signature_name": "ragged", "inputs": {"audio": [[1, 2]], "lengths": [3]}}', 400, "from 1 to 2"
    ),
    "half a length": (
        b'{"signature_name": "ragged", "inputs": {"audio": [[1, 2]], "lengths": [1.5]}}', 400, "whole"
    ),
    "no class": (
        b'{"signature_name": "explain", "inputs": {"audio": [1, 2], "class_index": 3}}', 400, "0 to 2"
    ),
    "no base64": (b'{"signature_name": "wav", "instances": [{"b64": "%"}]}', 400, "base64"),
    "no WAV": (b'{"signature_name": "wav", "instances": [{"b64": "AAAA"}]}', 400, "`audio_bytes[0]` is no"),
    "a WAV too long": (long_wav(), 413, "441000 samples"),
    "a rate of its own": (
        json.dumps(
            {"signature_name": "wav", "instances": [{"b64": slow()}]}
        ).encode(),
        400,
        "22050 Hz",
    ),
    "too long": (
        b'{"signature_name": "windows", "inputs": [' + b"0," * 441_000 + b"0]}", 413, "441000 samples"
    ),
    "too many rows": (b'{"instances": [[1]' + b",[1]" * 256 + b"]}", 413, "256 clips"),
    "not one a row": (b'{"signature_name": "sampling_rate", "instances": [{}]}', 400, '"inputs"'),
}  # fmt: skip
