"""A run's network in other runtimes' files. Wants Keras on TensorFlow, so it runs in a process of its own."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from fatk import formats_ops
from fatk.export import Plan
from fatk.serving_member import Member
from models import networks
from pipelines import crops
from pipelines.datasets import to_unit
from pipelines.domain import whole_image

OPSET = 18  # of ONNX


class PortableMember(Member):
    """A member in operations that LiteRT and ONNX have, for one clip at a time."""

    def crops(self, audio: tf.Tensor) -> tf.Tensor:
        """(samples,) -> (crops, bands, columns, channels) float32, 0..1: as `pipelines.crops.even_crops`.

        Sizes that are known stay known to the converters: a batch of one, and rows of whole columns, which
        they follow where they lose sight of single axes.
        """
        bands, columns, channels = self.features.shape
        image = whole_image(formats_ops, audio[None], *self.look).image
        rows = tf.reshape(tf.transpose(tf.cast(image, tf.float32), (0, 2, 1, 3)), (-1, bands * channels))
        frames, around = tf.shape(rows)[0], self.evaluate.around
        starts = crops.even_starts(frames, columns, tf.constant(self.evaluate.crops), around)
        rows = tf.concat([rows, np.zeros((columns, bands * channels), np.float32)], axis=0)
        cut = tf.gather(rows, crops.columns_of(starts, columns, frames, around))
        cut = tf.reshape(cut, (self.evaluate.crops, columns, bands, channels))
        return to_unit(tf.transpose(cut, (0, 2, 1, 3)))

    def of_images(self, images: tf.Tensor) -> tf.Tensor:
        """(n, bands, columns, channels) float32, 0..1 -> (n, classes)."""
        made = self._network(images, training=False)
        return tf.math.sigmoid(made["logits"] if self.explains else made)


Built = dict[str, str]  # a file, its runtime, what it takes and gives, and its weights


class Portable(tf.Module):
    """What is converted: from sound, from images, and from sound to images."""

    def __init__(self, member: PortableMember):
        super().__init__(name="portable")
        self._member = member
        self.weights = member.weights
        self.inputs = {
            "audio": tf.TensorSpec([None], tf.float32, name="audio"),
            "image": tf.TensorSpec([None, *member.features.shape], tf.float32, name="image"),
        }

    def audio(self, audio: tf.Tensor) -> dict[str, tf.Tensor]:
        """`audio` (samples,) -> `probabilities` (classes,): the mean over the windows of one clip."""
        chances = self._member.of_images(self._member.crops(audio))
        return {"probabilities": tf.reduce_mean(chances, axis=0)}

    def image(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """`image` (n, bands, columns, 3), 0..1 -> `probabilities` (n, classes): of each window."""
        return {"probabilities": self._member.of_images(image)}

    def features(self, audio: tf.Tensor) -> dict[str, tf.Tensor]:
        """`audio` (samples,) -> `image` (crops, bands, columns, 3), 0..1: the windows of one clip."""
        return {"image": self._member.crops(audio)}

    def traced(self, name: str) -> Any:
        """A method by its name -> a function of one input."""
        spec = self.inputs["image" if name == "image" else "audio"]
        return tf.function(getattr(self, name), input_signature=[spec], autograph=False)


class ConversionError(RuntimeError):
    """A converter that lacks an operation; the message names it."""


def to_litert(module: Portable, name: str, folder: Path, quantise: str = "", images: Any = None) -> bytes:
    """-> a flatbuffer of LiteRT's own operations alone. `images`: uint8, what int8 is calibrated by."""
    saved = folder / f"saved_{name}"
    if not saved.exists():
        tf.saved_model.save(module, str(saved), {"serving_default": module.traced(name)})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
    if quantise:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantise == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantise == "int8":
        converter.representative_dataset = lambda: _calibration(images)
        builtins = tf.lite.OpsSet
        converter.target_spec.supported_ops = [builtins.TFLITE_BUILTINS_INT8, builtins.TFLITE_BUILTINS]
    try:
        return converter.convert()
    except Exception as error:  # the converter's own type is not public
        raise ConversionError(_reason(error)) from error


def _calibration(images: np.ndarray) -> Iterator[list[np.ndarray]]:
    for image in images:
        yield [image[None].astype(np.float32) / 255]


def to_onnx(module: Portable, name: str, path: Path) -> None:
    """Write the file."""
    import tf2onnx

    function = module.traced(name)
    try:
        tf2onnx.convert.from_function(
            function,
            function.input_signature,
            opset=OPSET,
            output_path=str(path),
            custom_op_handlers={"FloorDiv": (_floor_division, [])},
        )
    except Exception as error:  # as many types as there are operations
        raise ConversionError(_reason(error)) from error


def _floor_division(graph: Any, node: Any, name: str, arguments: Any) -> None:
    """tf2onnx's own truncates whole numbers towards 0, which makes -7 // 2 a -3; ONNX's Mod rounds down."""
    x, y = node.input
    shapes, types = node.output_shapes, node.output_dtypes
    rest = graph.make_node("Mod", [x, y], dtypes=types, shapes=shapes)
    whole = graph.make_node("Sub", [x, rest.output[0]], dtypes=types, shapes=shapes)
    graph.remove_node(node.name)
    graph.make_node(
        "Div", [whole.output[0], y], name=node.name, outputs=node.output, dtypes=types, shapes=shapes
    )


def _reason(error: Exception) -> str:
    """A converter's pages -> the operations that it lacks, or the first line."""
    missing = dict.fromkeys(re.findall(r"'(tf\.\w+)' op is neither", str(error)))
    return f"no {', '.join(missing)}" if missing else str(error).strip().splitlines()[0][:200]


def build(folder: Path) -> None:
    """`job.json` in a folder -> the files that it asks for, and `built.json` with what each takes."""
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    (trained,) = Plan.from_json(job["plan"]).members
    config = trained.config
    network = networks.load(trained.run.network)
    module = Portable(PortableMember(network, config.features, config.evaluate, config.domain))
    built: list[Built] = []

    def litert(name: str, file: str, quantise: str = "") -> Built:
        images = np.load(folder / "calibration.npy") if quantise == "int8" else None
        (folder / file).write_bytes(to_litert(module, name, folder, quantise, images))
        return _told("litert", name, file) | {"weights": quantise or "float32"}

    def onnx(name: str, file: str) -> Built:
        to_onnx(module, name, folder / file)
        return _told("onnx", name, file)

    for kind, make, file in (("litert", litert, "model.tflite"), ("onnx", onnx, "model.onnx")):
        if kind in job["to"]:
            built.append(_either(make, file, job["input"]))
    built += [litert("image", f"image_{weights}.tflite", weights) for weights in job["quantise"]]
    if job["quantise"]:
        # Where it cannot be, images are cut from what the SavedModel's signature `image` gives.
        with suppress(ConversionError):
            built.append(litert("features", "features.tflite"))
    for saved in folder.glob("saved_*"):
        shutil.rmtree(saved)
    (folder / "built.json").write_text(json.dumps(built), encoding="utf-8")


def _told(runtime: str, name: str, file: str) -> Built:
    """What a method of `Portable` became."""
    given, made = {
        "audio": ("audio", "probabilities"),
        "image": ("image", "probabilities"),
        "features": ("audio", "image"),
    }[name]
    return {"file": file, "runtime": runtime, "input": given, "output": made, "weights": "float32"}


def _either(make: Callable[[str, str], Built], file: str, wanted: str) -> Built:
    """Sound in where the converter can, else images, with the reason."""
    if wanted == "image":
        return make("image", file)
    try:
        return make("audio", file)
    except ConversionError as error:
        if wanted == "audio":
            raise
        return make("image", file) | {"why": f"from sound it is not to be converted: {error}"}
