"""Names and labels as TensorBoard shows them."""

import re
from collections.abc import Sequence

import numpy as np


def tag(name: str) -> str:
    """A class name with parentheses and the like -> what TensorBoard takes as a tag without changing it."""
    return re.sub(r"[^A-Za-z0-9_.\-]", "_", name)


def tags(names: Sequence[str]) -> tuple[str, ...]:
    """A tag for each name, no two alike: a number follows where two names differ in such characters alone."""
    made: list[str] = []
    for name in names:
        bare, number = tag(name), 1
        while (candidate := bare if number == 1 else f"{bare}_{number}") in made:
            number += 1
        made.append(candidate)
    return tuple(made)


def words(classes: Sequence[str], values: np.ndarray, least: float = 0.05, most: int = 4) -> str:
    """'Bark 0.93, Rain 0.12': the largest values and their classes; 'Bark, Rain' where all are 0 or 1."""
    order = [i for i in np.argsort(-values, kind="stable")[:most] if values[i] >= least]
    hard = bool(np.isin(values, (0, 1)).all())
    return ", ".join(classes[i] + ("" if hard else f" {values[i]:.2f}") for i in order) or "nothing"
