"""A mean that is fitted on clips, beside members that count alike."""

import numpy as np
import pytest

from fatk import ensemble
from fatk.ensemble_runs import Held


def held(clips: int, seed: int) -> Held:
    """Two members that each know half of the classes, on clips of one of four classes each."""
    chance = np.random.default_rng(seed)
    truth = np.eye(4, dtype=int)[np.arange(clips) % 4]
    heard = np.stack([truth * [0.9, 0.9, 0.1, 0.1], truth * [0.1, 0.1, 0.9, 0.9]])
    noise = chance.uniform(0, 0.6, heard.shape)
    return Held([f"{n}.wav" for n in range(clips)], np.clip(heard + noise, 0.01, 0.99), truth)


class Member:
    """What `choose` and `_report` look at of a run."""

    classes = ("a", "b", "c", "d")

    class run:
        folder = "runs/one"

    @staticmethod
    def told() -> dict[str, object]:
        return {"val_lwlrap": None, "network": "specgram", "format": "APD", "bands": 32, "seconds": 1.0}


@pytest.mark.parametrize("kind", ["arithmetic", "geometric", "stacker"])
def test_what_members_that_count_alike_score_is_told(kind: str) -> None:
    clips = held(40, 3)
    _, told = ensemble.choose(kind, [Member(), Member()], clips, 0.1)
    assert told["arithmetic"] == round(ensemble._lwlrap(clips, clips.chances.mean(0)), 6)
    assert (kind != "arithmetic") or told["lwlrap"] == told["arithmetic"]


@pytest.mark.parametrize(("fitted", "alike"), [(0.5, 0.6), (0.6, 0.5), (0.5, 0.5)])
def test_a_fitted_mean_that_is_worse_is_named(
    fitted: float, alike: float, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ensemble.card, "look", lambda own: "APD")
    told = {"clips": 5, "lwlrap": fitted, "arithmetic": alike, "members": [0.4, 0.5]}
    ensemble._report([Member(), Member()], "stacker", told)
    said = capsys.readouterr().out
    assert ("which is better: --mean arithmetic" in said) == (fitted < alike)
