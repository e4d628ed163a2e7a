"""TensorFlow Serving's JSON: requests in rows or columns -> arrays that fit a signature, and answers back."""

import base64
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fatk.serve.refusal import Refusal

DEFAULT = "serving_default"
_CROPS = 100  # windows a clip that a client may ask for

# What each input's dimensions are called in our contract; for messages alone.
_DIMENSIONS = {"audio": ("batch", "samples"), "lengths": ("batch",), "audio_bytes": ("batch",)}


@dataclass(frozen=True)
class Query:
    """A predict request, its values not looked at yet."""

    signature: str
    rows: bool  # "instances", and so "predictions"; else "inputs", and so "outputs"
    values: Any


def parse(body: bytes | bytearray) -> Query:
    """The JSON of a predict request. Raises `Refusal`."""
    if not body.strip():
        raise Refusal(400, 'the body is empty: send {"instances": [...]} or {"inputs": ...}.')
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Refusal(400, f"the body is not JSON ({reason}).") from None
    if not isinstance(asked, dict):
        raise Refusal(400, f"the body must be a JSON object. Received: {_kind(asked)}.")
    unknown = set(asked) - {"instances", "inputs", "signature_name"}
    if unknown or ("instances" in asked) == ("inputs" in asked):
        received = ", ".join(sorted(asked)) or "nothing"
        raise Refusal(
            400, f'send either "instances" or "inputs", and maybe "signature_name". Received: {received}.'
        )
    signature = asked.get("signature_name", DEFAULT)
    if not isinstance(signature, str):
        raise Refusal(400, f'"signature_name" must be text. Received: {_kind(signature)}.')
    if "inputs" in asked:
        return Query(signature, False, asked["inputs"])
    rows = asked["instances"]
    if not isinstance(rows, list) or not rows:
        raise Refusal(400, f'"instances" must be a list with at least one element. Received: {_kind(rows)}.')
    return Query(signature, True, rows)


def _kind(value: Any) -> str:
    """A JSON value in a word or two."""
    if isinstance(value, list):
        return f"a list of {len(value)}"
    names = {dict: "an object", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _named(query: Query, names: list[str]) -> dict[str, Any]:
    """Values by the input's name; where there is one input, its name may be left out."""
    single = names[0] if len(names) == 1 else None

    def fields(value: Any) -> dict[str, Any]:
        plain = not isinstance(value, dict) or set(value) == {"b64"}
        if plain and single:
            return {single: value}
        if plain:
            raise Refusal(400, f"name the inputs: {', '.join(names) or 'none'}. Received: {_kind(value)}.")
        if set(value) != set(names):
            received = ", ".join(sorted(value)) or "nothing"
            raise Refusal(400, f"the inputs are {', '.join(names) or 'none'}. Received: {received}.")
        return value

    if not query.rows:
        return fields(query.values)
    if single and not any(isinstance(row, dict) for row in query.values):
        return {single: query.values}  # the usual case, without a dict a row
    rows = [fields(row) for row in query.values]
    return {name: [row[name] for row in rows] for name in names}


def _strings(value: Any, name: str) -> Any:
    """Texts, and objects {"b64": ...}, at any depth -> bytes."""
    if isinstance(value, list):
        return [_strings(one, f"{name}[{row}]") for row, one in enumerate(value)]
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            raise Refusal(400, f"`{name}`: not text ({error.reason}).") from None
    if isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except ValueError as error:  # binascii.Error, or letters that are not ASCII
            raise Refusal(400, f"`{name}`: not base64 ({error}).") from None
    raise Refusal(400, f'`{name}` must hold objects {{"b64": "..."}}. Received: {_kind(value)}.')


def _numbers(value: Any, name: str, dtype: np.dtype) -> NDArray[Any]:
    """Nested lists of numbers -> an array, checked to fit its type."""
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError):
        raise Refusal(
            400, f"`{name}`: rows differ in length; pad them, and give `lengths` (see `ragged`)."
        ) from None
    if array.dtype.kind not in "iuf":
        raise Refusal(400, f"`{name}` must hold numbers.")
    if dtype.kind == "i":
        least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
        if array.dtype.kind == "f" or (array.size and not least <= array.min() <= array.max() <= most):
            raise Refusal(400, f"`{name}` must hold whole numbers of {dtype.itemsize * 8} bits.")
    with np.errstate(over="ignore", invalid="ignore"):
        array = array.astype(dtype)
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise Refusal(400, f"`{name}` must be finite.")
    return array


def _shaped(array: NDArray[Any], name: str, spec: Any) -> NDArray[Any]:
    """The array, if its shape is the signature's."""
    if not spec.shape.is_compatible_with(array.shape):
        rank = spec.shape.rank or 0
        words = _DIMENSIONS.get(name, ())[-rank:] if rank else ()
        wanted = f"({', '.join(words)}{',' if rank == 1 else ''})" if len(words) == rank else str(spec.shape)
        raise Refusal(400, f"`{name}` must have the shape {wanted}. Received: {array.shape}.")
    return array


def arrays(query: Query, signature: Any) -> dict[str, NDArray[Any]]:
    """What the signature is called with. Raises `Refusal` naming the input that does not fit."""
    specs = signature.structured_input_signature[1]
    made = {}
    for name, value in _named(query, sorted(specs)).items():
        dtype = np.dtype(specs[name].dtype.as_numpy_dtype)
        if dtype.kind == "O":
            found = _strings(value, name)
            array = np.array(found, dtype=object)
        else:
            array = _numbers(value, name, dtype)
        made[name] = _shaped(array, name, specs[name])
    return made


def check(given: dict[str, NDArray[Any]], rate: int, clip_seconds: float, rows: int, classes: int) -> None:
    """Values within the limits of the service. Raises `Refusal`."""
    most = int(clip_seconds * rate)
    for name, array in given.items():
        if array.ndim and not array.size:
            raise Refusal(400, f"`{name}` is empty. Received the shape {array.shape}.")
        if name == "audio" and array.shape[-1] > most:
            raise Refusal(
                413, f"a clip may have {most} samples, {clip_seconds:g} s. Received: {array.shape[-1]}."
            )
        if (array.ndim > 1 or name == "audio_bytes") and len(array) > rows:
            raise Refusal(413, f"a request may hold {rows} clips. Received: {len(array)}.")
        if name == "crops" and not 1 <= int(array) <= _CROPS:
            raise Refusal(400, f"`crops` must be from 1 to {_CROPS}. Received: {array}.")
        if name == "class_index" and not 0 <= int(array) < classes:
            raise Refusal(400, f"`class_index` must be from 0 to {classes - 1}. Received: {array}.")
    if "lengths" in given and "audio" in given:
        lengths, audio = given["lengths"], given["audio"]
        if len(lengths) != len(audio):
            raise Refusal(400, f"{len(audio)} rows of `audio`, but {len(lengths)} `lengths`.")
        if lengths.min() < 1 or lengths.max() > audio.shape[1]:
            raise Refusal(
                400, f"`lengths` must be from 1 to {audio.shape[1]}, the width of `audio`. "
                f"Received: {lengths.tolist()}."
            )  # fmt: skip


def clips(signature: str, given: dict[str, NDArray[Any]]) -> list[NDArray[np.float32]] | None:
    """The rows as clips of their own where the signature scores each as if alone; else None."""
    if signature == DEFAULT and set(given) == {"audio"}:
        return list(given["audio"])
    if signature == "ragged" and set(given) == {"audio", "lengths"}:
        return [row[:length] for row, length in zip(given["audio"], given["lengths"], strict=True)]
    return None


def _plain(array: NDArray[Any], name: str) -> Any:
    """An array -> what JSON can say."""

    def text(value: Any) -> Any:
        if isinstance(value, list):
            return [text(one) for one in value]
        if name.endswith("_bytes"):
            return {"b64": base64.b64encode(value).decode()}
        return value.decode()

    values = array.tolist()
    return text(values) if array.dtype.kind in "OS" else values


def answer(rows: bool, outputs: dict[str, NDArray[Any]]) -> bytes:
    """The JSON of an answer, in the format of its question. Raises `Refusal` where rows cannot hold it."""
    plain = {name: _plain(np.asarray(array), name) for name, array in outputs.items()}
    single = len(plain) == 1
    made: dict[str, Any]
    if not rows:
        made = {"outputs": next(iter(plain.values())) if single else plain}
    else:
        sizes = {name: np.shape(array)[:1] for name, array in outputs.items()}
        if len(set(sizes.values())) != 1 or () in sizes.values():
            raise Refusal(400, 'the outputs are not one a row; ask with "inputs" in place of "instances".')
        columns = list(plain.values())
        rowed = (
            columns[0]
            if single
            else [dict(zip(plain, row, strict=True)) for row in zip(*columns, strict=True)]
        )
        made = {"predictions": rowed}
    return json.dumps(made, allow_nan=False).encode()
