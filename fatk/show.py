"""`python -m fatk.show --config C`: what a set looks and sounds like, before anything is trained on it.

Writes pictures, and one HTML page that holds them all and needs nothing else, to `runs/show/<name>/`: clips in
every format, hard and soft labels, which classes go together, how many clips each has, and what the settings of
noise and domain do. `--tensorboard` writes the same to a log in that folder.
"""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fatk import cli, folders
from fatk.config import Config
from fatk.prepare import Prepared, prepare

if TYPE_CHECKING:
    from fatk.show_page import Section

_OURS = re.compile(r"(formats|channels|labels|cooccurrence|balance|envelopes|background)(-\w+)?\.png")


def show(config: Config, count: int, tensorboard: bool = False) -> Path:
    """Draw and write everything -> the page. Raises `DataError` where the set cannot be prepared."""
    prepared = prepare(config)
    from fatk import runtime

    runtime.quiet_tensorflow()
    from fatk import show_clips, show_sets
    from fatk.show_page import page

    made = show_clips.Show(config, prepared, count)
    ways = (
        show_clips.gallery,
        show_sets.labels,
        show_sets.together,
        show_sets.balance,
        show_clips.background,
    )
    with cli.progress("drawing", made.pictures, "pictures") as advance:
        made.tell = advance
        sections = [way(made) for way in ways]
    made.tell = lambda: None  # the pass over the set has a bar of its own
    sections.insert(-1, show_sets.envelopes(made))
    folder = folders.RUNS / "show" / config.name
    folder.mkdir(parents=True, exist_ok=True)
    _write_pictures(folder, sections)
    shutil.rmtree(folder / "tensorboard", ignore_errors=True)
    if tensorboard:
        _write_log(folder / "tensorboard", sections)
    folders.write_text(folder / "index.html", page(config.name, _about(config, prepared), sections))
    return folder / "index.html"


def _about(config: Config, prepared: Prepared) -> str:
    """The set and what is made of it, in a few sentences."""
    split, features = prepared.split, config.features
    hours = sum(prepared.seconds.values()) / 3600
    sizes = ", ".join(
        f"{len(clips)} {what}"
        for what, clips in (
            ("to train on", split.train),
            ("to validate on", split.valid),
            ("to test", split.test),
        )
    )
    return (
        f"A set of kind {config.data.kind!r}: {len(prepared.seconds)} clips, {hours:.2f} h, "
        f"{len(prepared.classes)} classes; {sizes}. Images of {features.bands} bands from {features.fmin:g} to "
        f"{features.highest:g} Hz at {features.rate} Hz; the network sees {features.seconds:g} s at a time, "
        f"format {features.format}."
        + "".join(f" Note: {note}" for note in prepared.source.notes + split.notes)
    )


def _write_pictures(folder: Path, sections: "Sequence[Section]") -> None:
    """PNG files; those of an earlier call that are not made any more go."""
    pictures = [picture for section in sections for part in section.parts for picture in part.pictures]
    for picture in pictures:
        (folder / f"{picture.name}.png").write_bytes(picture.png)
    names = {f"{picture.name}.png" for picture in pictures}
    for path in folder.glob("*.png"):
        if path.name not in names and _OURS.fullmatch(path.name):
            path.unlink()


def _write_log(folder: Path, sections: "Sequence[Section]") -> None:
    """The same pictures, words and sounds for `tensorboard --logdir runs/show`."""
    import tensorflow as tf

    writer = tf.summary.create_file_writer(str(folder))
    with writer.as_default():
        for section in sections:
            tf.summary.text(section.anchor, f"**{section.title}.** {section.text}", 0)
            for number, part in enumerate(section.parts, 1):
                for picture in part.pictures:
                    pixels = tf.io.decode_png(picture.png, channels=3)[None]
                    tf.summary.image(f"{section.anchor}/{picture.name}", pixels, 0, description=picture.alt)
                if part.sound:
                    audio, rate = tf.audio.decode_wav(part.sound.wav)
                    tag = f"{section.anchor}/clip-{number}"
                    tf.summary.audio(tag, audio[None], rate, 0, encoding="wav", description=part.title)
    writer.close()


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = cli.parser("fatk.show", __doc__)
    parser.add_argument("--clips", type=int, default=6, metavar="N", help="in the gallery (default 6)")
    parser.add_argument("--tensorboard", action="store_true", help="write a TensorBoard log too")
    config, arguments = cli.parse_config(parser, argv)
    if arguments.clips < 1:
        raise cli.UserError(f"--clips must be at least 1. Received: {arguments.clips}.")
    made = show(config, arguments.clips, arguments.tensorboard)
    count = len(list(made.parent.glob("*.png")))
    cli.say(f"{made}: {made.stat().st_size / 1e6:.1f} MB, with {count} pictures beside it")
    if arguments.tensorboard:
        cli.say(f"to look at the log: tensorboard --logdir {made.parent / 'tensorboard'}")
    return 0


if __name__ == "__main__":
    cli.run(main)
