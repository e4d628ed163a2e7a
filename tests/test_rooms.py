"""The rooms' walls: who imports what, which packages are empty, and who chooses Keras' backend."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("pipelines", "models", "fatk")
FRAMEWORKS = ("tensorflow", "keras", "keras_hub", "jax", "torch")

# What a room may import beside the standard library and itself.
ALLOWED = {"pipelines": {"numpy", "tensorflow"}, "models": {"keras", "keras_hub", "numpy"}}

# The one file where compressed shards are decoded, and those of kernels for JAX; each library is imported
# where it is used, if at all.
EXCEPTIONS = {
    "pipelines/decode.py": {"tensorflow_io", "soundfile", "soxr"},
    "models/kernels.py": {"jax"},
    "models/places.py": {"jax"},
    "models/pooling.py": {"jax"},
    "models/winograd.py": {"jax"},
}

# Numbers and maths: NumPy, the standard library, and files of the room that keep to the same.
PURE = {
    "pipelines": (
        "settings",
        "augment_settings",
        "domain_settings",
        "label_settings",
        "features",
        "formats",
        "filterbank",
        "sources",
        "splits",
        "labels",
        "domain",
        "cuts",
    ),
    "models": ("settings", "ranking"),
}


def files(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Dotted names of everything that a file imports, wherever in it: `from a import b` gives "a.b"."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are absolute here"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def strangers(path: Path, allowed: set[str]) -> set[str]:
    """Top-level packages that a file imports and may not."""
    packages = {name.split(".")[0] for name in imported(path)}
    return packages - allowed - set(sys.stdlib_module_names)


def clean(code: str, **environment: str) -> subprocess.CompletedProcess:
    """Python code in a fresh process in the checkout."""
    kept = {key: value for key, value in os.environ.items() if key != "KERAS_BACKEND"}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=kept | {"TF_CPP_MIN_LOG_LEVEL": "3"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_has_files(room: str) -> None:
    assert len(files(room)) > 5


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_what_the_table_lets_it(room: str) -> None:
    found = {
        name: strangers(path, ALLOWED[room] | {room} | EXCEPTIONS.get(name, set()))
        for path in files(room)
        for name in [str(path.relative_to(ROOT))]
    }
    assert {path: names for path, names in found.items() if names} == {}


def own_files(path: Path) -> set[Path]:
    """Files of its own room that a file imports."""
    found = set()
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == path.parent.name:
            found.add(path.parent / f"{(*parts, '')[1]}.py")
    return {path for path in found if path.exists()}


@pytest.mark.parametrize("room", PURE)
def test_numbers_and_maths_import_no_framework(room: str) -> None:
    todo = {ROOT / room / f"{name}.py" for name in PURE[room]}
    seen: set[Path] = set()
    while todo - seen:  # what they import counts as theirs
        path = (todo - seen).pop()
        seen.add(path)
        todo |= own_files(path)
        assert strangers(path, {"numpy", room}) == set(), path


@pytest.mark.parametrize("room", ["pipelines", "models"])
def test_importing_a_room_runs_nothing(room: str) -> None:
    body = ast.parse((ROOT / room / "__init__.py").read_text(encoding="utf-8")).body
    assert len(body) == 1
    assert isinstance(body[0], ast.Expr)
    assert isinstance(body[0].value, ast.Constant)
    assert isinstance(body[0].value.value, str)


def test_names_say_what_is_inside() -> None:
    taken = [path.stem for room in ROOMS for path in files(room)]
    assert not {"utils", "util", "helpers", "common", "misc"} & set(taken)
    for room in ROOMS:
        for path in files(room):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    assert not node.name.startswith("Base"), path
                    assert not node.name.endswith("Manager"), path


def test_one_place_chooses_the_backend() -> None:
    def sets_backend(path: Path) -> bool:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assign):
                written = [ast.unparse(target) for target in node.targets]
            elif isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                adds = called.endswith((".setdefault", ".putenv", ".update")) and "environ" in called
                written = [ast.unparse(node)] if adds or called.endswith("set_backend") else []
            else:
                continue
            if any("KERAS_BACKEND" in text for text in written):
                return True
        return False

    assert [path for room in ROOMS for path in files(room) if sets_backend(path)] == [
        ROOT / "fatk" / "__init__.py"
    ]


COMMANDS = (
    "ablate",
    "audit",
    "card",
    "crossval",
    "decide",
    "ensemble",
    "evaluate",
    "export",
    "features",
    "fetch",
    "formats",
    "predict",
    "prepare",
    "results",
    "serve.__main__",
    "show",
    "sweep",
    "train",
)


def test_starting_a_command_imports_no_framework() -> None:
    modules = ", ".join(f"fatk.{name}" for name in ("config", "cli", "folders", *COMMANDS))
    done = clean(f"import fatk, {modules}, sys; print(sorted({set(FRAMEWORKS)} & set(sys.modules)))")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_the_backend_is_jax_unless_told_otherwise() -> None:
    code = "import fatk, os; print(os.environ['KERAS_BACKEND'])"
    assert clean(code).stdout.strip() == "jax"
    assert clean(code, KERAS_BACKEND="tensorflow").stdout.strip() == "tensorflow"


def test_an_unknown_backend_is_refused() -> None:
    done = clean("import fatk", KERAS_BACKEND="theano")
    assert done.returncode == 1
    assert (
        "ImportError: KERAS_BACKEND must be one of jax, tensorflow, torch. Received: 'theano'." in done.stderr
    )


# A stand-in for an imported Keras: what is tested is what fatk makes of it.
KERAS = """
import sys, types
keras = types.ModuleType("keras")
keras.backend = types.SimpleNamespace(backend=lambda: {backend!r})
sys.modules["keras"] = keras
import fatk
print("imported")
"""


def test_a_keras_imported_before_with_another_backend_is_refused() -> None:
    done = clean(KERAS.format(backend="tensorflow"))
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: Keras was imported before fatk, with the backend 'tensorflow'")
    assert "Import fatk first, or set KERAS_BACKEND=tensorflow." in last


def test_a_keras_imported_before_with_the_same_backend_is_welcome() -> None:
    assert clean(KERAS.format(backend="jax")).stdout.strip() == "imported"
    done = clean(KERAS.format(backend="tensorflow"), KERAS_BACKEND="tensorflow")
    assert done.stdout.strip() == "imported"


# The same with the real one, which is asked twice.
REAL = """
import os, sys
import keras, fatk
del sys.modules["fatk"]
os.environ["KERAS_BACKEND"] = "tensorflow"
try:
    import fatk
except ImportError as error:
    print(error)
"""


def test_the_real_keras_is_asked_in_the_same_way() -> None:
    done = clean(REAL, KERAS_BACKEND="jax")
    assert done.returncode == 0, done.stderr
    assert "with the backend 'jax'; fatk wants 'tensorflow'" in done.stdout
