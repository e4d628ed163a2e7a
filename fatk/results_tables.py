"""The tables of results as Markdown: figures from kept predictions, words from `tables.toml`."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fatk import ablation_table, kept, results_figures
from fatk.cli import UserError
from fatk.config import ConfigError, read_toml
from fatk.results_figures import Figures, Measure
from fatk.results_submissions import Submission, mean_of
from fatk.scoring import Scores

RESULTS = Path("benchmarks") / "results"
DOCS = Path("docs")
PAGES = (Path("README.md"), DOCS / "results.md")
JUDGED = (
    "curated clips, held out"  # what a row of several labels is judged on, where `tables.toml` does not say
)
_BLOCK = re.compile(r"(<!-- results: ([a-z0-9-]+) -->\n)(.*?)(<!-- /results -->)", re.S)


@dataclass(frozen=True, eq=False)
class Entry:
    """A row of ours whose results are kept."""

    table: str
    what: str
    command: str
    name: str  # of the folder
    kept: kept.Kept
    figures: Figures | None  # None for an ablation
    pictures: bool = True  # whether the page shows its pictures
    judged: str = JUDGED
    main: bool = False  # whether README.md shows it


@dataclass(frozen=True, eq=False)
class Together:
    """Rows of ours whose networks answer together."""

    table: str
    what: str
    command: str
    scores: Scores
    judged: str = JUDGED
    submission: Submission | None = None
    main: bool = False


class Results:
    """Everything that is kept under a checkout, and what was published by others."""

    def __init__(self, place: Path):
        self.place = place
        try:
            tree = read_toml(place / RESULTS / "tables.toml")
        except (FileNotFoundError, ConfigError) as error:
            raise UserError(f"{place / RESULTS / 'tables.toml'}: cannot be read ({error}).") from None
        self.published: list[dict[str, Any]] = tree.get("published", [])
        self.entries = [
            self._entry(row) for row in tree.get("row", []) if (place / RESULTS / row["kept"]).is_dir()
        ]

        self.together = [
            self._together(row)
            for row in tree.get("together", [])
            if all((place / RESULTS / name).is_dir() for name in row["kept"])
        ]

    def _together(self, row: dict[str, Any]) -> Together:
        own = [entry for name in row["kept"] for entry in self.entries if entry.name == name]
        figures = [entry.figures for entry in own if entry.figures is not None]
        if len(figures) != len(row["kept"]):
            raise UserError(
                f"tables.toml: {row['what']!r} must name rows with figures. Received: {row['kept']}."
            )
        try:
            scores, sent = results_figures.joined(figures), None
            if "submission" in row:
                sent = mean_of([entry.kept for entry in own], self.place / RESULTS / row["submission"])
        except ValueError as error:
            raise UserError(f"tables.toml: {row['what']!r}: {error}") from None
        judged, main = row.get("judged", JUDGED), row.get("main", False)
        return Together(row["table"], row["what"], row["command"], scores, judged, sent, main)

    def _entry(self, row: dict[str, Any]) -> Entry:
        folder = self.place / RESULTS / row["kept"]
        found = kept.read(folder)
        try:
            own = None if found.kind == "ablation" else results_figures.figures(found)
        except ValueError as error:
            raise UserError(f"{folder}: {error}") from None
        shown, judged, main = row.get("pictures", True), row.get("judged", JUDGED), row.get("main", False)
        return Entry(row["table"], row["what"], row["command"], row["kept"], found, own, shown, judged, main)

    def of(self, table: str) -> list[Entry]:
        """The entries of one table."""
        return [entry for entry in self.entries if entry.table == table]

    @property
    def submissions(self) -> list[Submission]:
        """What rows together leave for the test clips."""
        return [row.submission for row in self.together if row.submission is not None]

    def blocks(self) -> dict[str, str]:
        """-> {name of a block: its Markdown}. Those that end in `-main` have the rows for README.md alone."""
        return {
            "esc10-main": self._esc10(main=True),
            "fat10-main": self._fat10(main=True),
            "esc10": self._esc10(),
            "esc10-folds": self._folds("esc10", "accuracy, %"),
            "esc10-pictures": self._pictures("esc10", "confusion", "Confusion matrix"),
            "fat10": self._fat10(),
            "fat10-folds": self._folds("fat10", "lwlrap"),
            "fat10-pictures": self._pictures("fat10", "classes", "lwlrap of each class"),
            "ablation": self._ablation(),
        }

    def _esc10(self, main: bool = False) -> str:
        rows = [
            [
                entry.what,
                _percent(entry.figures.accuracy),
                _percent(entry.figures.accuracy_of_one),
                *_seeds(entry),
                _lwlrap(entry),
                entry.code,
            ]
            for entry in map(_Shown, self.of("esc10"))
            if entry.main or not main
        ]
        for row in self.together:
            if row.table == "esc10" and (row.main or not main):
                right = "" if row.scores.accuracy is None else _hundred(row.scores.accuracy)
                rows.append([row.what, "", "", "", right, _plain(row.scores.lwlrap), f"`{row.command}`"])
        rows += [
            [row["what"], f"{row['accuracy']:g}", "", "", "", "", row["source"]]
            for row in self.published
            if row["table"] == "esc10"
        ]
        header = [
            "five folds",
            "accuracy, %",
            "of one crop",
            "seeds",
            "their mean prediction",
            "lwlrap",
            "command, or source",
        ]
        return _markdown(header, rows)

    def _fat10(self, main: bool = False) -> str:
        rows = []
        for entry in map(_Shown, self.of("fat10")):
            if main and not entry.main:
                continue
            judged = f"{len(entry.figures.mean.names)} {entry.judged}"
            seeds, whole = str(len(entry.figures.seeds)), _plain(entry.figures.lwlrap.whole)
            rows.append([entry.what, judged, _lwlrap(entry), seeds, whole, entry.code])
        rows += [
            [
                row.what,
                f"{len(row.scores.names)} {row.judged}",
                "",
                "",
                _plain(row.scores.lwlrap),
                f"`{row.command}`",
            ]
            for row in self.together
            if row.table == "fat10" and (row.main or not main)
        ]
        rows += [
            [row["what"], row["judged"], f"{row['lwlrap']:.3f}", "", "", row["source"]]
            for row in self.published
            if row["table"] == "fat10"
        ]
        header = ["", "judged on", "lwlrap", "seeds", "their mean prediction", "command, or source"]
        return _markdown(header, rows)

    def _folds(self, table: str, unit: str) -> str:
        """A row a seed of each entry, a column a fold."""
        made = []
        for entry in map(_Shown, self.of(table)):
            measure = entry.figures.accuracy if "%" in unit else entry.figures.lwlrap
            if measure is None:
                continue
            show = _hundred if "%" in unit else _plain
            rows = [
                [str(seed), *(show(measure.parts[seed, fold]) for fold in entry.figures.folds)]
                for seed in entry.figures.seeds
            ]
            header = ["seed", *(f"fold {fold}" for fold in entry.figures.folds)]
            made.append(f"{entry.what}, {unit}:\n\n{_markdown(header, rows)}")
        return "\n".join(made)

    def _pictures(self, table: str, kind: str, alt: str) -> str:
        lines = [
            line
            for entry in self.of(table)
            if entry.pictures
            for line in (
                f"![{alt}: {entry.what}]({picture(entry.name, kind)})",
                f"![Learning curves: {entry.what}]({picture(entry.name, 'curves')})",
            )
        ]
        return "\n\n".join(lines) + "\n" if lines else ""

    def _ablation(self) -> str:
        made = []
        for entry in self.of("ablation"):
            crops = list(entry.kept.about["crops"])
            lines = ablation_table.lines(entry.kept)
            rows = [[*ablation_table.cells(line, crops), line.note] for line in lines]
            table = _markdown(*ablation_table.filled_columns([*ablation_table.header(crops), ""], rows))
            clips = len(results_figures.own_scores(entry.kept.runs[0]).names)
            made.append(f"{entry.what}: lwlrap of {clips} held-out clips. `{entry.command}`\n\n{table}")
        return "\n".join(made)


class _Shown:
    """An entry that has figures."""

    def __init__(self, entry: Entry):
        if entry.figures is None:
            raise UserError(f"{entry.name}: an ablation is for the table 'ablation'.")
        self.what, self.figures, self.code = entry.what, entry.figures, f"`{entry.command}`"
        self.judged, self.main = entry.judged, entry.main


def _seeds(entry: _Shown) -> list[str]:
    accuracy = entry.figures.accuracy
    return [str(len(entry.figures.seeds)), "" if accuracy is None else _hundred(accuracy.whole)]


def _lwlrap(entry: _Shown) -> str:
    own = entry.figures.lwlrap
    return _plain(own.mean) + ("" if own.deviation is None else f" ± {own.deviation:.4f}")


def _percent(measure: Measure | None) -> str:
    if measure is None:
        return ""
    spread = "" if measure.deviation is None else f" ± {100 * measure.deviation:.2f}"
    return _hundred(measure.mean) + spread


def _hundred(value: float) -> str:
    return f"{100 * value:.2f}"


def _plain(value: float) -> str:
    return f"{value:.4f}"


def picture(name: str, kind: str) -> str:
    """The file of a picture, beside `docs/results.md`."""
    return f"results_{name}_{kind}.png"


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def filled(text: str, blocks: dict[str, str]) -> str:
    """A page -> the same with every block between its markers renewed. Raises `UserError` for an unknown one."""

    def renewed(found: re.Match[str]) -> str:
        if found[2] not in blocks:
            raise UserError(f"results: a block must be one of {', '.join(blocks)}. Received: {found[2]!r}.")
        return f"{found[1]}{blocks[found[2]]}{found[4]}"

    return _BLOCK.sub(renewed, text)


def stale(place: Path) -> list[Path]:
    """-> the pages and submissions of a checkout that say other figures than the kept files."""
    results = Results(place)
    blocks = results.blocks()
    texts = {page: (place / page).read_text(encoding="utf-8") for page in PAGES}
    pages = [page for page, text in texts.items() if filled(text, blocks) != text]
    return pages + [sent.path.relative_to(place) for sent in results.submissions if not sent.is_there]
