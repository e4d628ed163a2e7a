"""Starting TensorFlow for a SavedModel alone: what stays out, what comes back afterwards. Memory that is kept."""

import importlib.util
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

PAGES = 16384  # of 4 KiB, in 64 MiB
MEMORY = f"""
import resource, sys
from fatk import runtime
print(runtime.keep_memory())
def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"x" * ({PAGES} * 4096)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
pages()
print(pages())
mapped = open("/proc/self/smaps").read().split("[heap]")[1].split("VmFlags:")[1].splitlines()[0]
print("hg" in mapped.split())
"""
STEPS = f"""
import resource
from fatk import runtime
runtime.keep_memory()
runtime.set_up_jax()
import jax, jax.numpy as jnp
step = jax.jit(lambda x: x + 1)  # of 64 MiB
image = jnp.ones({PAGES} * 1024)
def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step(image).block_until_ready()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
pages()
print(min(pages() for _ in range(3)))
"""
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage")

ALONE = """
import gc, os, sys
from fatk import runtime
runtime.quiet_tensorflow(alone=True)
print(*sorted({"keras", "jax", "scipy", "h5py"} & set(sys.modules)))
import h5py, scipy.sparse  # as anybody may afterwards
print(gc.isenabled(), os.environ["TF_ENABLE_ONEDNN_OPTS"])
"""

WITH_KERAS = """
import sys
from fatk import runtime
runtime.quiet_tensorflow()
print("keras" in sys.modules, *sorted({"sklearn", "matplotlib", "pandas"} & set(sys.modules)))
import matplotlib.pyplot, pandas, sklearn.metrics  # as anybody may afterwards
"""


def memory(**environment: str) -> tuple[str, int, str]:
    """Whether memory is kept, pages that are new for what was given back before, whether they are huge."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    kept, pages, huge = done.stdout.splitlines()
    return kept, int(pages), huge


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="tells glibc's allocator")
def test_jax_on_a_cpu_is_given_the_memory_that_it_gave_back() -> None:
    on_gpu = importlib.util.find_spec("jax_plugins") is not None
    kept, pages, huge = memory(KERAS_BACKEND="jax")
    assert kept == str(not on_gpu)
    assert on_gpu or pages < PAGES / 100
    assert huge == str(not on_gpu and HUGE_PAGES.exists())


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="tells glibc's allocator")
def test_a_step_of_jax_on_a_cpu_computes_in_the_memory_of_the_one_before() -> None:
    if importlib.util.find_spec("jax_plugins") is not None:
        pytest.skip("JAX computes on a GPU")

    def new(script: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env=os.environ | {"KERAS_BACKEND": "jax"},
            capture_output=True,
            text=True,
            check=True,
        )
        return int(done.stdout)

    assert new(STEPS) < PAGES / 100
    # What a thread of JAX's own computes is given back; where it no longer is, the setting is of no use.
    other_thread = 'jax.config.update("jax_cpu_enable_async_dispatch", True)'
    assert new(STEPS.replace("\nstep =", f"\n{other_thread}\nstep =")) > PAGES / 100


@pytest.mark.skipif(sys.platform != "linux", reason="looks at the process as Linux shows it")
def test_tensorflow_is_left_its_own_way() -> None:
    kept, _, huge = memory(KERAS_BACKEND="tensorflow")
    assert (kept, huge) == ("False", "False")


def imported(program: str, **environment: str) -> list[str]:
    """What one of the programs above prints, a line each."""
    kept = {key: value for key, value in os.environ.items() if key != "TF_ENABLE_ONEDNN_OPTS"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=kept | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not done.stderr
    return done.stdout.splitlines()


def test_what_a_saved_model_does_not_need_is_not_imported_but_can_be_later() -> None:
    assert imported(ALONE) == ["", "True 1"]


def test_what_keras_imports_for_no_command_is_not_there_but_can_be_later() -> None:
    assert imported(WITH_KERAS) == ["True"]


def test_the_choice_of_kernels_is_left_to_whom_it_was_made_by() -> None:
    assert imported(ALONE, TF_ENABLE_ONEDNN_OPTS="0") == ["", "True 0"]
