"""Run every benchmark, or those that are named, and write benchmarks/RESULTS.md with the machine described.

    python -m benchmarks.run_all [NAME ...]
    python -m benchmarks.run_all NAME --OPTION ...

Sections of benchmarks that are not run stay as they were, and those of other processors. One with options of its
own gets a section of its own.
"""

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

HERE = Path(__file__).resolve().parent
NOT_BENCHMARKS = {"__init__", "timing", "reference", "run_all", "fat10_sources"}
TITLE = "# Benchmarks\n\nWritten by `make bench`. Ratios of medians within one run; above the goal is good."
NAMES = sorted(path.stem for path in HERE.glob("*.py") if path.stem not in NOT_BENCHMARKS)


def processor():
    """The processor's name, as the kernel tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")


def graphics():
    """The GPUs' names, as NVIDIA's tool tells them; none where it is not there."""
    try:
        asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        found = subprocess.run(asked, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return found.stdout.splitlines()


def processors():
    """What ran, in words."""
    return ", ".join([*graphics(), processor()])


def machine():
    """What it ran in, and when."""
    return (
        f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, on {date.today()}"
    )


def section(name, options):
    """-> the lines of one benchmark, once it has run."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rows.json"
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}", "--json", str(out), *options],
            cwd=HERE.parent,
            check=False,
        )
        took = f"{time.monotonic() - began:.0f} s"
        print(f"== {name}: {took}", flush=True)
        if done.returncode:
            return [f"failed with exit code {done.returncode}"]
        return [
            f"{machine()}, in {took}.",
            "",
            "| case | peer | ratio | goal |",
            "|---|---|---|---|",
            *(
                f"| {row['case']} | {row['peer']} | {row['ratio']:.2f} | {row['goal']:.2f} |"
                for row in json.loads(out.read_text())
            ),
        ]


def kept(path):
    """-> {title: lines} of what was written before."""
    parts = re.split(r"^## (.+)\n", path.read_text(), flags=re.M)[1:] if path.exists() else []
    return {title: text.strip().splitlines() for title, text in zip(parts[::2], parts[1::2], strict=True)}


def main():
    first = next((n for n, word in enumerate(sys.argv) if n and word.startswith("-")), len(sys.argv))
    asked, options = sys.argv[1:first] or NAMES, sys.argv[first:]
    if wrong := [name for name in asked if name not in NAMES]:
        sys.exit(f"no benchmark {wrong[0]!r}; there are: {', '.join(NAMES)}")
    if options and len(asked) != 1:
        sys.exit(f"options are for one benchmark: NAME {' '.join(options)}")
    path = HERE / "RESULTS.md"
    sections = kept(path)
    for name in asked:
        sections[f"{' '.join([name, *options])}: {processors()}"] = section(name, options)
        # One by one: what was measured stays when the next is stopped.
        lines = [TITLE]
        for title in sorted(sections):
            if re.split("[ :]", title)[0] in NAMES:
                lines += ["", f"## {title}", "", *sections[title]]
        path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
