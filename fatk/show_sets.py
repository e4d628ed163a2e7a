"""What `fatk.show` tells of a whole set: its labels, the balance of its classes, its two domains."""

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from fatk import cli
from fatk.prepare import records_folder
from fatk.show_clips import Show, half_noisy
from fatk.show_page import Part, Section, Table
from fatk.show_pictures import balance_bars, envelope_curves, folded, matrix, shortened
from pipelines import statistics
from pipelines.labels import cooccurrence, multi_hot, targets_of
from pipelines.reading import Examples
from pipelines.sources import CURATED, NOISY, Clip

_ACROSS = 16  # clips in the pictures of labels
_MEASURED = 400  # noisy clips whose envelopes are measured at most; ten a class where that is more
_FEW = 25  # classes up to which cells have their numbers written in


def labels(show: Show) -> Section:
    """What the network is asked for: hard labels, and softened ones."""
    settings, classes = show.config.labels, show.prepared.classes
    clips = half_noisy(show.prepared.split.train, _ACROSS, show.config.seed)
    hard = multi_hot(clips, classes)
    soft = targets_of(clips, classes, show.curated, replace(settings, soft=True))
    text = (
        f"Targets of {len(clips)} training clips. Soft ones follow from which classes go together in the curated "
        f"training clips, at temperature {settings.temperature:g}. This config trains on the "
        f"{'soft' if settings.soft else 'hard'} ones."
    )
    if np.array_equal(hard, soft):
        text += " Here they are the same: no two classes go together in a curated clip."
    names = [f"{'noisy ' if clip.pool == NOISY else ''}{shortened(clip.name)}" for clip in clips]
    pictures = []
    for name, values in (("hard", hard.T), ("soft", soft.T)):
        texts = np.array([[f"{x:.2f}"[1:] if 0.005 <= x < 0.995 else "" for x in row] for row in values])
        shown = texts if len(classes) <= _FEW else None
        alt = f"{name} labels of {len(clips)} clips across, {len(classes)} classes down. {_listed(clips)}"
        paint = partial(matrix, values, classes, names, f"{name} labels", "target", shown)
        pictures.append(show.draw(f"labels-{name}", alt.capitalize(), paint))
    return Section("labels", "Hard and soft labels", text, (Part(pictures=tuple(pictures)),))


def _listed(clips: Sequence[Clip]) -> str:
    return " ".join(f"{clip.key} has {', '.join(clip.labels) or 'no label'}." for clip in clips)


def together(show: Show) -> Section:
    """Which classes go together in the curated training clips."""
    title, classes = "Classes that go together", show.prepared.classes
    if not show.curated:
        return Section("together", title, "Does not apply: no curated clip is trained on.")
    counts = cooccurrence(multi_hot(show.curated, classes)).astype(int)
    pairs = [(int(counts[i, j]), classes[j], classes[i]) for i, j in np.argwhere(np.tril(counts, -1))]
    often = "; ".join(f"{one} and {other} in {count}" for count, one, other in sorted(pairs)[:-6:-1])
    text = (
        f"In the {len(show.curated)} curated training clips. A cell's colour is the share of the clips of its "
        "row's class that carry its column's class too"
        + (", its number how many these are. " if len(classes) <= _FEW else ". ")
        + (f"Most often: {often}." if pairs else "No clip carries two classes.")
    )
    share = counts / np.maximum(np.diag(counts), 1)[:, None]
    texts = np.where(counts > 0, counts.astype(str), "") if len(classes) <= _FEW else None
    heading = "classes that go together in curated training clips"
    paint = partial(matrix, share, classes, classes, heading, "share of the row's clips", texts)
    picture = show.draw("cooccurrence", f"{len(classes)} by {len(classes)} classes. {text}", paint)
    return Section("together", title, text, (Part(pictures=(picture,)),))


def balance(show: Show) -> Section:
    """Clips of each class in each split."""
    split, classes = show.prepared.split, show.prepared.classes
    clips = {
        "train, curated": [clip for clip in split.train if clip.pool == CURATED],
        "train, noisy": [clip for clip in split.train if clip.pool == NOISY],
        "valid": list(split.valid),
        "test": [clip for clip in split.test if clip.labels],
    }
    counts = {name: multi_hot(own, classes).sum(0).astype(int) for name, own in clips.items() if own}
    notes = ["A clip counts for each of its labels."]
    if len(show.curated) + len(show.noisy) < len(split.train):
        notes.append("What is trained on several times in an epoch counts as often.")
    if not clips["train, noisy"]:
        notes.append("No noisy clip is trained on.")
    if not clips["test"]:
        unlabelled = f"The labels of the {len(split.test)} test clips are not given."
        notes.append(unlabelled if split.test else "There are no test clips.")
    titles = {f"{name}\n{len(clips[name])} clips": count for name, count in counts.items()}
    ends = [
        f"{name}: from {classes[int(count.argmin())]} with {count.min()} to {classes[int(count.argmax())]} "
        f"with {count.max()}"
        for name, count in counts.items()
    ]
    alt = f"Bars, a class a row. Clips of a class in {'; in '.join(ends)}."
    paint = partial(balance_bars, titles, classes, "clips of each class")
    rows = tuple((name, *(str(count[row]) for count in counts.values())) for row, name in enumerate(classes))
    table = Table("Clips of each class as a table", ("class", *counts), rows)
    part = Part(pictures=(show.draw("balance", alt, paint),), table=table)
    return Section("balance", "Balance of classes", " ".join(notes), (part,))


def _examples(show: Show, clips: Sequence[Clip]) -> Examples:
    """Clips with hard labels."""
    pools = dict.fromkeys(clip.pool for clip in clips)
    shards = tuple(shard for pool in pools for shard in show.prepared.shards[pool])
    return Examples(tuple(clip.key for clip in clips), multi_hot(clips, show.prepared.classes), shards)


def _curves(show: Show, few: Sequence[Clip]) -> dict[str, np.ndarray]:
    """-> {domain: (classes, bands) mean levels}: curated clips, noisy ones, and these after each transfer."""
    features, plain = show.config.features, show.config.domain
    curated, noisy = _examples(show, show.curated), _examples(show, few)
    folder = records_folder(show.config)
    made = {
        "curated": statistics.kept(curated, features, plain, folder, cli.progress).envelopes,
        "noisy": statistics.kept(noisy, features, plain, folder, cli.progress).envelopes,
    }
    for kind, name in (("envelope", "noisy, envelope transfer"), ("normalise", "noisy, normalised domain")):
        settings = replace(plain, transfer=kind)  # type: ignore[arg-type]
        all_noisy = np.ones(len(few), bool)
        transfer = statistics.build_transfer(
            curated, noisy, all_noisy, features, settings, folder, cli.progress
        )
        made[name] = statistics.measure(noisy, features, plain, transfer, cli.progress).envelopes
    return made


def envelopes(show: Show) -> Section:
    """Frequency envelopes of noisy clips before and after they are taken to the curated domain."""
    title, classes = "Envelopes before and after transfer", show.prepared.classes
    if not (show.noisy and show.curated):
        missing = "noisy" if show.curated else "curated"
        return Section("envelopes", title, f"Does not apply: no {missing} clip is trained on.")
    most = max(_MEASURED, 10 * len(classes))
    few = show.noisy
    if len(few) > most:
        few = random.Random(f"show {show.config.seed}").sample(few, most)
    carried = [multi_hot(clips, classes).any(0) for clips in (show.curated, few)]
    rows = [int(row) for row in np.flatnonzero(carried[0] & carried[1])]
    if not rows:
        return Section("envelopes", title, "Does not apply: no class has both curated and noisy clips.")
    curves = _curves(show, few)
    there, *others = curves.values()
    apart = [np.sqrt(((own - there) ** 2).mean(1))[rows] for own in others]
    before, after, normalised = apart
    text = (
        f"Mean level of each band over the clips of a class: {len(show.curated)} curated ones, {len(few)} of "
        f"{len(show.noisy)} noisy ones. The root mean square distance to the curated envelope, in levels of 0 to "
        f"255, is {before.mean():.1f} in the mean over classes, {after.mean():.1f} after envelope transfer, and "
        f"{normalised.mean():.1f} with each domain normalised. This config trains with "
        f"transfer = {show.config.domain.transfer!r}."
    )
    if len(rows) < len(classes):
        text += f" {len(classes) - len(rows)} classes have no clip in one of the domains."
    panels = {
        f"{folded(classes[row])}\n{before[place]:.1f} to {after[place]:.1f}": row
        for place, row in enumerate(rows)
    }
    heading = "mean level over frequency, and distance to curated before and after envelope transfer"
    paint = partial(envelope_curves, curves, panels, show.config.features, heading)
    cells = tuple(
        (classes[row], *(f"{values[place]:.1f}" for values in apart)) for place, row in enumerate(rows)
    )
    table = Table("Distance to the curated envelope as a table", ("class", *list(curves)[1:]), cells)
    alt = f"Curves over frequency in hertz, a panel a class. {text}"
    return Section(
        "envelopes", title, text, (Part(pictures=(show.draw("envelopes", alt, paint),), table=table),)
    )
