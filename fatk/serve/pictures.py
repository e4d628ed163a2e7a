"""Grey images as PNG, for pages and programs."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_WIDEST = 4096  # columns; what a browser still draws


def narrowed(image: NDArray[np.uint8], widest: int = _WIDEST) -> NDArray[np.uint8]:
    """(bands, columns) -> at most `widest` columns, each the largest value of those that it stands for."""
    columns = image.shape[1]
    if columns <= widest:
        return image
    edges = np.linspace(0, columns, widest, endpoint=False).astype(np.int64)
    return np.asarray(np.maximum.reduceat(image, edges, axis=1), np.uint8)


def png(image: NDArray[np.uint8]) -> str:
    """(bands, columns), lowest band first -> a PNG with the highest band on top, in base64."""
    made = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(narrowed(image)[::-1])).save(made, "PNG")
    return base64.b64encode(made.getvalue()).decode()
