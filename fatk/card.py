"""`python -m fatk.card --model DIR`: README.md of a run's or an ensemble's folder, written from its own files.

Nothing is said that does not stand in one of them.
"""

import csv
import json
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fatk import cli, folders
from fatk.card_calls import CALLS

FILE = "README.md"
_PLACES = ("path", "table", "records", "relabel")  # settings that name a place on one machine

Table = list[dict[str, str]]


def write_card(run: folders.Run) -> Path:
    """Write the folder's README.md -> its path. `run` may be an ensemble's folder."""
    ensemble = _json(run.folder / "ensemble.json")
    if not ensemble and not run.config.is_file():
        raise cli.UserError(f"{run.folder}: neither a run nor an ensemble (config.toml is missing).")
    settings = {} if ensemble else tomllib.loads(run.config.read_text(encoding="utf-8"))
    classes = run.classes.read_text(encoding="utf-8").splitlines() if run.classes.is_file() else []
    parts = _ensemble(run, ensemble, classes) if ensemble else _run(run, settings, classes)
    rate = ensemble.get("sampling_rate") or settings.get("features", {}).get("rate", 44100)
    parts += _classes(run, classes)
    parts += ["## How to call it", "", CALLS.replace("RATE", str(rate))]
    parts += _formats(run)
    if settings:
        parts += ["## Settings", "", "```toml", _shown(run.config.read_text(encoding="utf-8")), "```", ""]
    path = run.folder / FILE
    folders.write_text(path, "\n".join(parts).rstrip() + "\n")
    return path


def look(image: Mapping[str, Any]) -> str:
    """Settings of an image, or what a member of an ensemble tells of its own -> in words."""
    bands = image.get("bands", 160)
    columns = image.get("width", bands)
    return (
        f"{image.get('format', 'APD')}, {bands} mel bands, {columns} columns, {image.get('seconds', 1.0):g} s"
    )


def _run(run: folders.Run, settings: dict[str, Any], classes: Sequence[str]) -> list[str]:
    """What it is, what it scores, what it learned from."""
    summary = _json(run.summary)
    network, features = settings.get("network", {}), settings.get("features", {})
    what = network.get("backbone") or network.get("name", "specgram")
    rows = [
        ("network", what + _counted(summary, "parameters", ", {:,} parameters")),
        ("image", look(features)),
        ("sound", f"mono, {features.get('rate', 44100)} Hz"),
        ("lwlrap, validation", _counted(summary, "val_lwlrap", "{:.4f}")),
        ("accuracy of the first label, validation", _counted(summary, "val_accuracy", "{:.4f}")),
        ("lwlrap, test", _counted(summary, "test_lwlrap", "{:.4f}")),
        ("epochs", _counted(summary, "epochs", "{}")),
        ("seed", str(settings.get("seed", ""))),
        ("made with", ", ".join(f"{name} {v}" for name, v in summary.get("versions", {}).items())),
    ]
    parts = _title(str(settings.get("name", run.folder.name)), len(classes))
    parts += ["|  |  |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows if value), ""]
    return [*parts, "## Data", "", *_data(run, settings), ""]


def _title(name: str, classes: int) -> list[str]:
    return [
        f"# {name}",
        "",
        f"A tagger of sounds: a waveform goes in, a probability for each of {classes} classes comes out; several "
        "may be high at once. `saved_model` is a TensorFlow SavedModel that needs TensorFlow alone.",
        "",
    ]


def _data(run: folders.Run, settings: dict[str, Any]) -> list[str]:
    """Clips by role and pool, and licences of those that were trained on."""
    data = settings.get("data", {})
    place = Path(data.get("path") or "").name
    parts = [f"Set: `{data.get('kind', 'csv')}`" + (f", folder `{place}`." if place else ".")]
    splits = _rows(run.splits)
    if not splits:
        return [*parts, "Which clips were used is not told: there is no splits.csv."]
    count = Counter((row["split"], row["pool"]) for row in splits if row["split"])
    parts += ["", "| role | pool | clips |", "|---|---|---|"]
    parts += [f"| {role} | {pool} | {number} |" for (role, pool), number in count.items()]
    trained = {(row["pool"], row["fname"]) for row in splits if row["split"] == "train"}
    records = Path(data.get("records") or folders.RECORDS / str(settings.get("name", "")))
    clips = [row for row in _rows(records / "clips.csv") if (row["pool"], row["fname"]) in trained]
    licences = Counter(row.get("license") or "not told" for row in clips)
    if not licences or set(licences) == {"not told"}:
        return [*parts, "", "Licences: the set's tables tell none of the clips that were trained on."]
    parts += ["", "Licences of the clips that were trained on:", ""]
    return parts + [f"- {number} x {_cell(name)}" for name, number in licences.most_common()]


def _ensemble(run: folders.Run, told: dict[str, Any], classes: Sequence[str]) -> list[str]:
    """Members and their mean."""
    parts = _title(run.folder.name, len(classes))
    parts += [f"The {told['mean']['kind']} mean of {len(told['members'])} networks.", ""]
    parts += ["| member | network | image | lwlrap, validation |", "|---|---|---|---|"]
    for member in told["members"]:
        score = _counted(member, "val_lwlrap", "{:.4f}")
        parts.append(f"| {_cell(member['run'])} | {member['network']} | {look(member)} | {score} |")
    validation = told.get("validation", {})
    if "lwlrap" in validation:
        parts += [
            "",
            f"On the {validation['clips']} clips that all of them held out: lwlrap {validation['lwlrap']:.4f}.",
        ]
    return [*parts, ""]


def _classes(run: folders.Run, classes: Sequence[str]) -> list[str]:
    """A row a class, in the order of the probabilities."""
    scores = {row["class"]: row["lwlrap"] for row in _rows(run.per_class)}
    decided = _json(run.decisions)
    thresholds = {row["class"]: row for row in decided.get("classes", [])}
    header = ["#", "class"] + ["lwlrap, validation"] * bool(scores)
    header += ["threshold", "positives"] * bool(thresholds)
    rows = []
    for number, name in enumerate(classes):
        row = [str(number), _cell(name)]
        if scores:
            row.append(f"{float(scores[name]):.4f}" if scores.get(name) else "no clip")
        if thresholds:
            known = thresholds.get(name, {})
            row += [_counted(known, "threshold", "{:.3f}"), str(known.get("positives", ""))]
        rows.append(row)
    parts = ["## Classes", "", f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    parts += [f"| {' | '.join(row)} |" for row in rows] + [""]
    if thresholds:
        asked = decided["precision"]
        rule = "the best F1" if asked is None else f"a precision of {asked:g}"
        parts += [
            f"Thresholds are for {rule} on {decided['clips']} validation clips, at the temperature "
            f"{decided['temperature']:g}; those of few positives are rough.",
            "",
        ]
    return parts


def _formats(run: folders.Run) -> list[str]:
    """The other runtimes' files."""
    told = _json(run.formats / "formats.json")
    if not told:
        return []
    parts = ["## Other formats", "", "| file | input | largest difference | lwlrap, validation |"]
    parts.append("|---|---|---|---|")
    for row in told["files"]:
        differs = _counted(row, "largest_difference", "{:.1e}")
        score = _counted(row, "lwlrap", "{:.4f}")
        if score:
            score += f" (float32: {row['lwlrap_float32']:.4f}, {row['valid_clips']} clips)"
        parts.append(f"| formats/{row['file']} | {row['input']} | {differs} | {score} |")
    return [*parts, "", f"Differences are of probabilities, on {told['clips']} {told['compared_on']}.", ""]


def _counted(tree: dict[str, Any], key: str, pattern: str) -> str:
    """A value by a pattern; nothing where there is none."""
    return "" if tree.get(key) is None else pattern.format(tree[key])


def _shown(toml: str) -> str:
    """Settings without the places of one machine: of a path, its last part."""
    lines = []
    for line in toml.strip().splitlines():
        key, sign, value = line.partition(" = ")
        if sign and key in _PLACES:
            value = json.dumps(Path(tomllib.loads(f"v = {value}")["v"]).name, ensure_ascii=False)
        lines.append(f"{key}{sign}{value}")
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Into a table of Markdown; a name in underscores stays one."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("_", "\\_").replace("*", "\\*")


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _rows(path: Path) -> Table:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = cli.parser("fatk.card", __doc__)
    parser.add_argument("--model", required=True, metavar="DIR", help="a run's or an ensemble's folder")
    cli.say(str(write_card(folders.Run(Path(parser.parse_args(argv).model)))))
    return 0


if __name__ == "__main__":
    cli.run(main)
