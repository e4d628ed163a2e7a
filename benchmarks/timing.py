"""Timing side by side: peers take turns, so that a machine that slows down slows all of them."""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One comparison: how many times as fast as the peer, and what was aimed at."""

    case: str
    peer: str
    ratio: float
    goal: float


def medians(
    contestants: dict[str, Callable[[], object]], seconds: float = 2.0, least: int = 5, ready: bool = False
) -> dict[str, float]:
    """Name -> median seconds a call, all in turn for a while; each is called before, unless all are `ready`.

    A call that gives a float has timed itself: it leaves out what it must make ready first.
    """
    for call in () if ready else contestants.values():
        call()
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    until = time.perf_counter() + seconds * len(contestants)
    while time.perf_counter() < until or min(map(len, taken.values())) < least:
        for name, call in contestants.items():
            began = time.perf_counter()
            own = call()
            taken[name].append(own if isinstance(own, float) else time.perf_counter() - began)
    return {name: statistics.median(times) for name, times in taken.items()}


def arguments(description: str | None) -> argparse.Namespace:
    """`--json FILE` and `--seconds S`."""
    parser = argparse.ArgumentParser(description=(description or "").split("\n\n")[0])
    parser.add_argument("--json", metavar="FILE", help="write the rows as a list of objects")
    parser.add_argument("--seconds", type=float, default=1.0, help="measured for each peer of each case")
    return parser.parse_args()


def report(rows: Sequence[Row], path: str | None) -> None:
    """Print the table, and write it where asked to. A ratio above its goal is good."""
    print(f"{'case':<34} {'peer':<34} {'ratio':>7} {'goal':>6}")
    for row in rows:
        print(f"{row.case:<34} {row.peer:<34} {row.ratio:>7.2f} {row.goal:>6.2f}")
    if path:
        Path(path).write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
