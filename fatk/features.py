"""`python -m fatk.features --config C --audio FILE --out image.npy`: the image that a clip becomes.

Writes (bands, frames, channels) uint8, the whole clip after the duration step, as the training graph makes it
before cropping and augmentation. `--png` draws it.
"""

from collections.abc import Sequence
from pathlib import Path

from fatk import cli, outputs


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = cli.parser("fatk.features", __doc__)
    parser.add_argument("--audio", required=True, metavar="FILE", help="a sound file of any rate")
    parser.add_argument("--out", metavar="FILE", help="an .npy file to write")
    parser.add_argument("--png", metavar="FILE", help="a picture to write, a panel a channel")
    config, arguments = cli.parse_config(parser, argv)
    if not (arguments.out or arguments.png):
        raise cli.UserError("nothing to write: give --out image.npy, --png image.png, or both.")
    outputs.check(
        [("--out", arguments.out, outputs.IMAGE), ("--png", arguments.png, outputs.PNG)],
        [arguments.audio, arguments.config],
    )
    from fatk import runtime
    from fatk.audio import UnreadableError, read_pcm

    try:
        pcm = read_pcm(Path(arguments.audio), config.features.rate)
    except UnreadableError as error:
        raise cli.UserError(f"{arguments.audio}: {error}.") from None
    tf = runtime.quiet_tensorflow()
    import numpy as np

    from pipelines.clips import image_of

    image = image_of(tf.constant(pcm), config.features, config.domain).numpy()
    if arguments.out:
        with Path(arguments.out).open("wb") as out:  # np.save would add .npy to another suffix
            np.save(out, image)
        cli.say(f"{arguments.out}: {image.shape} uint8 (bands, frames, channels)")
    if arguments.png:
        from fatk.pictures import draw_image

        title = f"{Path(arguments.audio).name}, {config.features.format}"
        draw_image(image, config.features, len(pcm) / config.features.rate, title, Path(arguments.png))
        cli.say(f"{arguments.png}: drawn")
    return 0


if __name__ == "__main__":
    cli.run(main)
