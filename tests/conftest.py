"""What tests share: where the real recordings lie, a quiet TensorFlow, and what JAX has compiled."""

import gc
import os
from pathlib import Path

import pytest

import fatk  # noqa: F401 - chooses the backend before anything imports Keras
from fatk import runtime

runtime.quiet_tensorflow()

ROOT = Path(__file__).resolve().parents[1]

# As the commands do, and in processes that tests start: small networks alike are trained over and over, and
# compiling them took a third of the time.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "jax"))
if os.environ["KERAS_BACKEND"] == "jax":
    runtime.set_up_jax()

# Modules are not garbage: each of many collections would look through all of them.
gc.freeze()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder `data` of shared recordings: $FATK_SHARED/data, or ../shared/data beside the checkout.

    Where it is missing the test is skipped, but in CI that is a failure.
    """
    folder = Path(os.environ.get("FATK_SHARED", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        message = f"needs real recordings at {folder} (or set FATK_SHARED)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with whole-process runs first: dealt out last, they would leave the other worker idle at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
