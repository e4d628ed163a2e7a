"""`python -m fatk.ensemble --runs R1 R2 ... --out DIR`: several runs as one SavedModel.

Formats, bands, durations and networks may differ; the classes must agree, in any order, and the rate. One
waveform goes in, the mean of the members' probabilities comes out, on the terms of docs/served_model.md.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fatk import card, cli, ensemble_means, export, folders
from fatk.ensemble_means import Mean
from fatk.ensemble_runs import Held, Trained, held_out, read_members

DESCRIPTION = "ensemble.json"


def choose(
    kind: str, members: Sequence[Trained], held: Held | None, temperature: float
) -> tuple[Mean, dict[str, Any]]:
    """-> (the mean of this kind, how it was found and what it scores on clips that all members held out).

    Raises `UserError` where the runs lack what it is fitted by.
    """
    classes = members[0].classes
    told: dict[str, Any] = {}
    chances = None
    if kind == "per_class":
        for member in members:
            if np.isnan(member.per_class).all():
                raise cli.UserError(
                    f"{member.run.per_class}: no lwlrap of any class; --mean per_class needs it."
                )
        mean = ensemble_means.by_class(np.stack([member.per_class for member in members]), temperature)
        told["temperature"] = temperature
    elif kind == "stacker":
        if held is None:
            counts = ", ".join(f"{member.run.folder}: {len(member.predictions)}" for member in members)
            raise cli.UserError(
                "--mean stacker is fitted on labelled clips that all runs held out, and these have none in common "
                f"(predictions.csv has {counts} clips; labels are read in splits.csv)."
            )
        mean, told["strength"], chances = ensemble_means.fitted_stacker(held.chances, held.truth)
    else:
        mean = ensemble_means.plain(kind, len(members), len(classes))
    if held is not None:
        chances = mean(held.chances) if chances is None else chances
        told |= {"clips": len(held.names), "lwlrap": round(_lwlrap(held, chances), 6)}
        told["members"] = [round(_lwlrap(held, own), 6) for own in held.chances]
        alike = ensemble_means.plain("arithmetic", len(members), len(classes))
        told["arithmetic"] = round(_lwlrap(held, alike(held.chances)), 6)
    return mean, told


def _lwlrap(held: Held, chances: np.ndarray) -> float:
    from models.ranking import lwlrap

    return lwlrap(held.truth, chances)


def describe(plan: export.Plan, validation: dict[str, Any]) -> dict[str, Any]:
    """What `ensemble.json` holds: members with their scores, the mean with its weights, test-time windows."""
    assert plan.mean is not None
    return {
        "mean": plan.mean.to_json(),
        "validation": validation,
        "tta": plan.crops,
        "jitter": plan.jitter,
        "sampling_rate": plan.rate,
        "classes": list(plan.members[0].classes),
        "members": [member.told() for member in plan.members],
    }


def ensemble(plan: export.Plan, validation: dict[str, Any], out: Path) -> float:
    """Write the folder: `saved_model`, `ensemble.json`, `classes.txt`, its card -> the largest difference found."""
    told = describe(plan, validation)
    text = json.dumps(told, indent=1, ensure_ascii=False) + "\n"
    assets = {DESCRIPTION: text}
    for number, member in enumerate(plan.members, 1):
        assets[f"config_{number}.toml"] = member.run.config.read_text(encoding="utf-8")
    out.mkdir(parents=True, exist_ok=True)
    difference = export.make(plan, assets, folders.Run(out).saved_model)
    folders.write_text(folders.Run(out).classes, "\n".join(plan.members[0].classes) + "\n")
    told["difference"] = difference
    folders.write_text(out / DESCRIPTION, json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    card.write_card(folders.Run(out))
    return difference


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = cli.parser("fatk.ensemble", __doc__)
    parser.add_argument("--runs", required=True, nargs="+", metavar="DIR", help="folders of runs")
    parser.add_argument("--out", required=True, metavar="DIR", help="the folder to write")
    parser.add_argument(
        "--mean",
        choices=ensemble_means.KINDS,
        default="arithmetic",
        help="per_class: by validation lwlrap; stacker: fitted on clips that all runs held out",
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=ensemble_means.TEMPERATURE,
        metavar="T",
        help=f"per_class: of the softmax over lwlrap ({ensemble_means.TEMPERATURE})",
    )
    parser.add_argument(
        "--tta", type=int, metavar="N", help="windows a clip; by default as each run's config"
    )
    parser.add_argument("--jitter", action="store_true", help="move all windows but the first at random")
    given = parser.parse_args(argv)
    if given.tta is not None and given.tta < 1:
        raise cli.UserError(f"--tta must be at least 1. Received: {given.tta}.")
    if not 0 < given.temperature < float("inf"):
        raise cli.UserError(f"--temperature must be finite and above 0. Received: {given.temperature:g}.")
    out = Path(given.out)
    # An ensemble that lies there is replaced; what else does is not ours to mix with.
    if out.exists() and not (out / DESCRIPTION).exists() and (not out.is_dir() or any(out.iterdir())):
        raise cli.UserError(f"{out}: is there and is no ensemble. Choose another --out, or empty it.")
    members = read_members(given.runs)
    held = held_out(members)
    mean, validation = choose(given.mean, members, held, given.temperature)
    difference = ensemble(export.Plan(members, mean, given.tta, given.jitter), validation, out)
    _report(members, given.mean, validation)
    cli.say(f"{out}: differs from the mean of the Keras models by {difference:.1e} at most")
    return 0


def _report(members: Sequence[Trained], kind: str, validation: dict[str, Any]) -> None:
    """Members and their scores, and what the mean scores where that can be told."""
    rows = []
    for member in members:
        own = member.told()
        score = "" if own["val_lwlrap"] is None else f"{own['val_lwlrap']:.4f}"
        rows.append((str(member.run.folder), own["network"], card.look(own), score))
    cli.table("members", ("run", "network", "image", "val_lwlrap"), rows)
    if "lwlrap" in validation:
        unseen = " (each judged by a stacker fitted without it)" if kind == "stacker" else ""
        alone = ", ".join(f"{score:.4f}" for score in validation["members"])
        cli.say(
            f"{validation['clips']} clips that all held out{unseen}: lwlrap {validation['lwlrap']:.4f}, "
            f"the members' {alone}"
        )
        if validation["lwlrap"] < validation["arithmetic"]:
            cli.say(
                f"on these clips members that count alike have {validation['arithmetic']:.4f}, which is better: "
                "--mean arithmetic"
            )


if __name__ == "__main__":
    cli.run(main)
