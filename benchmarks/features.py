"""Images a second on one core: fatk's graph against librosa, torch.stft with the same maths, and the bare FFTs.

    python -m benchmarks.features [--json FILE]

The reference's path is librosa's: STFT, mel, decibels, phase, delta, scaling, in NumPy. Every contestant makes
the whole clip's uint8 image from the same waveform.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where it is run as a file
os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

from fatk import runtime

tf = runtime.quiet_tensorflow()  # before anything else imports TensorFlow

import numpy as np
import torch

from benchmarks import reference
from benchmarks.timing import Row, arguments, medians, report
from pipelines import formats, ops
from pipelines.filterbank import mel_filterbank
from pipelines.settings import FeatureSettings

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
torch.set_num_threads(1)

GOALS = {"librosa": 15.0, "torch.stft": 3.0, "bare FFTs": 1 / 3}


def by_torch(audio, settings, window, mel, kernel):
    transform = torch.stft(
        audio, settings.n_fft, settings.hop, window=window, pad_mode="reflect", return_complex=True
    )
    level = 10 * torch.log10(torch.clamp(mel @ (transform.real**2 + transform.imag**2), min=1e-10))
    level = torch.maximum(level, level.max() - 80)

    def own(values):
        low, high = values.min(), values.max()
        return (255 * ((values - low) / (high - low))).to(torch.uint8)

    if settings.format == "AAA":
        return torch.stack([own(level)] * 3, -1)
    padded = torch.nn.functional.pad(level[:, None], (4, 4), mode="replicate")
    slope = torch.nn.functional.conv1d(padded, kernel)[:, 0]
    return torch.stack([own(level), own(mel @ torch.angle(transform)), own(slope)], -1)


def bare_ffts(audio, settings):
    @tf.function
    def transform(frames):
        return tf.signal.rfft(frames, [settings.n_fft])

    count = 1 + len(audio) // settings.hop
    frames = tf.constant(np.random.default_rng(0).standard_normal((count, settings.n_fft)).astype(np.float32))
    return lambda: transform(frames)


def main():
    asked = arguments(__doc__)
    rows = []
    for kind in ("APD", "AAA"):
        for seconds in (1, 5, 10):
            settings = FeatureSettings(format=kind)
            audio = np.random.default_rng(seconds).standard_normal(seconds * settings.rate)
            audio = (0.1 * audio).astype(np.float32)
            graph = tf.function(lambda x, s=settings: formats.whole_image(ops, x, s))
            given = tf.constant(audio)
            mel = mel_filterbank(settings.rate, settings.n_fft, settings.bands, 20.0, settings.highest).T
            tensors = (
                torch.from_numpy(audio),
                settings,
                torch.hann_window(settings.n_fft),
                torch.from_numpy(np.ascontiguousarray(mel)),
                torch.arange(-4, 5, dtype=torch.float32)[None, None] / 60,
            )
            took = medians(
                {
                    "fatk": lambda g=graph, x=given: g(x),
                    "librosa": lambda a=audio, s=settings: reference.image(a, s),
                    "torch.stft": lambda t=tensors: by_torch(*t),
                    "bare FFTs": bare_ffts(audio, settings),
                },
                asked.seconds,
            )
            print(f"{kind} {seconds} s: " + ", ".join(f"{k} {1 / v:.1f} images/s" for k, v in took.items()))
            rows += [
                Row(f"{kind} {seconds} s, one core", peer, took[peer] / took["fatk"], goal)
                for peer, goal in GOALS.items()
            ]
    report(rows, asked.json)


if __name__ == "__main__":
    main()
