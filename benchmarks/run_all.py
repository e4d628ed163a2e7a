"""Run every benchmark and write benchmarks/RESULTS.md with the machine described.

make bench
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

HERE = Path(__file__).resolve().parent
NOT_BENCHMARKS = {"__init__", "timing", "reference", "run_all"}


def processor():
    """The processor's name, as the kernel tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")


def main():
    parts = [
        "# Benchmarks",
        "",
        f"Written by `make bench` on {date.today()}: {processor()}, {os.cpu_count()} cores, "
        f"{platform.system()}, Python {platform.python_version()}. Ratios of medians within one run; above "
        "the goal is good.",
    ]
    for script in sorted(HERE.glob("*.py")):
        if script.stem in NOT_BENCHMARKS:
            continue
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "rows.json"
            done = subprocess.run(
                [sys.executable, "-m", f"benchmarks.{script.stem}", "--json", str(out)],
                cwd=HERE.parent,
                check=False,
            )
            parts += ["", f"## {script.stem}", ""]
            if done.returncode:
                parts.append(f"failed with exit code {done.returncode}")
                continue
            parts += ["| case | peer | ratio | goal |", "|---|---|---|---|"]
            parts += [
                f"| {row['case']} | {row['peer']} | {row['ratio']:.2f} | {row['goal']:.2f} |"
                for row in json.loads(out.read_text())
            ]
    (HERE / "RESULTS.md").write_text("\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
