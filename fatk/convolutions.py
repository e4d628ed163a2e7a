"""In what precision a SavedModel's convolutions are computed: float32, or bfloat16 where the processor has AMX.

The model itself is float32 either way. TensorFlow rewrites a graph when a process runs it first
(`auto_mixed_precision_onednn_bfloat16`), so a process has one precision.
"""

import os
import threading
from pathlib import Path
from typing import Any

from fatk.cli import UserError

PRECISIONS = ("float32", "bfloat16")
HELP = "of convolutions; bfloat16: faster on processors with AMX, answers rounded (default float32)"
_CPU = Path("/proc/cpuinfo")
_AMX = "amx_bf16"
_KEPT = "TF_AUTO_MIXED_PRECISION_GRAPH_REWRITE_ALLOWLIST_REMOVE"

_chosen: str | None = None
_lock = threading.Lock()


def has_amx() -> bool:
    """Whether the processor multiplies matrices of bfloat16, as Linux tells."""
    try:
        return _AMX in _CPU.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return False


def compute_in(precision: str, tensorflow: Any) -> None:
    """Choose the precision of this process, before a model runs in it.

    Products with the filterbank stay float32: an image is the same, pixel for pixel. Raises `UserError` for
    another precision than the process has already, and for bfloat16 where it would be slower or do nothing:
    without AMX, or with TensorFlow's oneDNN off.
    """
    global _chosen
    if precision not in PRECISIONS:
        raise UserError(f"`precision` must be one of {', '.join(PRECISIONS)}. Received: {precision!r}.")
    with _lock:
        if _chosen not in (None, precision):
            raise UserError(
                f"`precision` is {precision}, and this process has a model in {_chosen} already: "
                "one process, one precision."
            )
        if precision == "bfloat16":
            if not has_amx():
                raise UserError(
                    f"`precision` is bfloat16, and this processor has no AMX ({_AMX} is missing in {_CPU}): "
                    "it would be slower than float32."
                )
            if os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0":
                raise UserError(
                    "`precision` is bfloat16, and TF_ENABLE_ONEDNN_OPTS=0 turns off what computes in it."
                )
            os.environ[_KEPT] = "MatMul"
            tensorflow.config.optimizer.set_experimental_options(
                {"auto_mixed_precision_onednn_bfloat16": True}
            )
        _chosen = precision
