"""The reference's way, to measure against: librosa's images and PyTorch's networks.

    python -m benchmarks.reference WEIGHTS CLIP

says what is heard in a clip, from the start of the process on; `serve` launches it.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where it is run as a file

import librosa
import numpy as np
import torch
from torch import nn

from pipelines.settings import FeatureSettings

CROPS = 10  # evenly spaced windows a clip


def scaled(values):
    """(bands, frames) -> the same, uint8: its own range on 0..255."""
    low, high = values.min(), values.max()
    return (255 * ((values - low) / (high - low))).astype(np.uint8)


def image(audio, settings):
    """(samples,) float32 -> (bands, frames, 3) uint8: the whole clip's, in the format APD or AAA."""
    transform = librosa.stft(audio, n_fft=settings.n_fft, hop_length=settings.hop, pad_mode="reflect")
    # The reference makes the filterbank anew for each clip.
    mel = librosa.filters.mel(
        sr=settings.rate,
        n_fft=settings.n_fft,
        n_mels=settings.bands,
        fmin=settings.fmin,
        fmax=settings.highest,
    )
    level = librosa.power_to_db(mel @ np.abs(transform) ** 2)
    if settings.format == "AAA":
        return np.stack([scaled(level)] * 3, -1)
    return np.stack(
        [scaled(level), scaled(mel @ np.angle(transform)), scaled(librosa.feature.delta(level))], -1
    )


def even_crops(image, columns, count):
    """(bands, frames, 3) of at least `columns` frames -> (count, bands, columns, 3), over the whole clip."""
    latest = image.shape[1] - columns
    starts = np.arange(count) * latest // (count - 1)
    return np.stack([image[:, start : start + columns] for start in starts])


def specgram():
    """-> SpecgramNet's trunk, and the channels that it gives."""
    layers, channels = [], 3
    for filters, kernel, stride, pool in (
        (64, (7, 3), (2, 1), 2),
        (128, (5, 3), (1, 1), 1),
        (256, (3, 5), (1, 2), 1),
        (512, (3, 3), (2, 2), 2),
    ):
        layers += [nn.Conv2d(channels, filters, kernel, stride, padding=1), nn.MaxPool2d(3, pool)]
        layers += [nn.BatchNorm2d(filters), nn.ReLU(inplace=True)]
        channels = filters
    return nn.Sequential(*layers), channels


class _Dense(nn.Module):
    """DenseNet's unit: what it makes of all before it stands beside it."""

    def __init__(self, channels):
        super().__init__()
        self.grow = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(inplace=True),
            nn.Conv2d(128, 32, 3, padding=1, bias=False),
        )

    def forward(self, x):
        """(n, channels, rows, columns) -> (n, channels + 32, rows, columns)."""
        return torch.cat([x, self.grow(x)], 1)


def densenet121():
    """-> DenseNet121's trunk, and the channels that it gives."""
    layers = [nn.Conv2d(3, 64, 7, 2, padding=3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
    layers.append(nn.MaxPool2d(3, 2, padding=1))
    channels = 64
    for stage, blocks in enumerate((6, 12, 24, 16)):
        if stage:
            layers += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
            layers += [nn.Conv2d(channels, channels // 2, 1, bias=False), nn.AvgPool2d(2)]
            channels //= 2
        for _ in range(blocks):
            layers.append(_Dense(channels))
            channels += 32
    return nn.Sequential(*layers, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)), channels


class Network(nn.Module):
    """A trunk by its name, with the reference's head: (n, 3, bands, columns) in 0..1 -> (n, classes) logits."""

    def __init__(self, trunk, classes):
        super().__init__()
        self.trunk, channels = {"specgram": specgram, "densenet121": densenet121}[trunk]()
        self.head = nn.Sequential(
            nn.BatchNorm1d(2 * channels),
            nn.Dropout(0.25),
            nn.Linear(2 * channels, 512),
            nn.ReLU(inplace=True),
            nn.BatchNorm1d(512),
            nn.Dropout(0.5),
            nn.Linear(512, classes),
        )

    def forward(self, x):
        """Trunk, mean and maximum over positions, head."""
        x = self.trunk(x)
        return self.head(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))


class Tagger:
    """Clips -> (clips, classes) probabilities: an image by librosa each, then the crops of all at once.

    `weights`: a file of a SpecgramNet's. All cores; `layout`: PyTorch's default, or channels last; `precision`:
    with bfloat16, what PyTorch's autocast makes of the network.
    """

    def __init__(self, weights, layout=torch.contiguous_format, precision=torch.float32):
        torch.set_num_threads(os.cpu_count() or 1)
        state = torch.load(weights)
        self.settings, self.layout, self.precision = FeatureSettings(), layout, precision
        self.network = Network("specgram", len(state["head.6.bias"]))
        self.network.load_state_dict(state)
        self.network.eval().to(memory_format=layout)

    def predict(self, clips):
        """[(samples,) float32 at the settings' rate] -> (clips, classes)."""
        cut = [even_crops(image(clip, self.settings), self.settings.columns, CROPS) for clip in clips]
        half = self.precision is not torch.float32
        with torch.inference_mode(), torch.autocast("cpu", self.precision, enabled=half):
            images = torch.from_numpy(np.concatenate(cut)).permute(0, 3, 1, 2)
            images = images.to(torch.float32).div_(255).contiguous(memory_format=self.layout)
            chances = torch.sigmoid(self.network(images).float())
            return chances.reshape(len(clips), CROPS, -1).mean(1).numpy()


def main(weights, path):
    tagger = Tagger(weights)
    audio, _ = librosa.load(path, sr=tagger.settings.rate)
    chances = tagger.predict([audio])[0]
    best = np.argsort(-chances)[:3]
    print(f"{path}: " + ", ".join(f"{number} {chances[number]:.3f}" for number in best), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
