"""Answers of converted models, each by its own runtime and without TensorFlow, Keras or JAX.

`python -m fatk.formats_run FOLDER` is the process in which `fatk.formats` checks what it wrote.
"""

import json
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

_IMAGES = 32  # windows that a network sees at once

Run = Callable[[np.ndarray], np.ndarray]


def litert(path: Path) -> tuple[Run, str]:
    """-> (one input to one output, the runtime's name and version)."""
    try:
        from ai_edge_litert.interpreter import Interpreter

        told = f"ai-edge-litert {_version('ai-edge-litert', 'ai-edge-litert-nightly')}"
    except ImportError:  # the same runtime as a part of TensorFlow
        from fatk import runtime

        Interpreter = runtime.quiet_tensorflow(alone=True).lite.Interpreter
        told = f"tensorflow {_version('tensorflow')}"
    interpreter = Interpreter(str(path))
    names = interpreter.get_signature_list()["serving_default"]
    run = interpreter.get_signature_runner("serving_default")
    (given,), (wanted,) = names["inputs"], names["outputs"]
    return lambda values: run(**{given: values})[wanted], told


def onnx(path: Path) -> tuple[Run, str]:
    """The same."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    told = f"onnxruntime {_version('onnxruntime', 'onnxruntime-gpu')}"
    return lambda values: session.run(None, {given.name: values})[0], told


RUNTIMES = {"litert": litert, "onnx": onnx}


def _version(*names: str) -> str:
    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "of unknown version"


def of_images(run: Run, images: np.ndarray) -> np.ndarray:
    """(crops, bands, columns, channels) uint8 -> (classes,): the mean of what is said of each."""
    said = [
        run(images[start : start + _IMAGES].astype(np.float32) / 255)
        for start in range(0, len(images), _IMAGES)
    ]
    return np.concatenate(said).mean(0)


def answers(folder: Path, built: dict[str, str]) -> dict[str, Any]:
    """A file's answers for the clips of the folder, and for the images of the validation clips if it takes such."""
    run, told = RUNTIMES[built["runtime"]](folder / built["file"])
    with np.load(folder / "clips.npz") as arrays:
        clips = [arrays[f"clip{number}"] for number in range(len(arrays.files) // 2)]
        images = [arrays[f"image{number}"] for number in range(len(arrays.files) // 2)]
    made: dict[str, Any] = {"runtime": told}
    if built["output"] == "image":
        pairs = zip(clips, images, strict=True)
        made["clips"] = np.array([np.abs(run(clip) * 255 - image).mean() for clip, image in pairs])
    elif built["input"] == "audio":
        made["clips"] = np.stack([run(clip) for clip in clips])
    else:
        made["clips"] = np.stack([of_images(run, image) for image in images])
        if (folder / "valid.npy").exists():
            valid = np.load(folder / "valid.npy", mmap_mode="r")
            made["valid"] = np.stack([of_images(run, np.asarray(image)) for image in valid])
    return made


def main() -> int:
    """The step."""
    folder = Path(sys.argv[1])
    for built in json.loads((folder / "built.json").read_text(encoding="utf-8")):
        made = answers(folder, built)
        np.savez(folder / f"{built['file']}.npz", **made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
