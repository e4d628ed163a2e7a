"""Sound files of one content under several names: no draw puts them on two sides."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pipelines.tables import CURATED, NOISY, TEST, Clip, Source


def copies_together(source: Source, digests: Mapping[str, str]) -> Source:
    """A set whose training clips of one content, byte for byte, count as cut from one recording, with notes.

    `digests`: {key of a clip: its file's}. So copies are not trained on where others of them validate. Clips
    whose source the table tells keep it: copies of several sources stay where those are put. Test clips stay,
    and a note tells of copies of what is trained on.
    """
    members: dict[str, list[Clip]] = {}
    for clip in source.pool(CURATED, NOISY):
        members.setdefault(digests[clip.key], []).append(clip)
    several = [group for group in members.values() if len(group) > 1]
    named: dict[str, str] = {}  # key of a clip -> its source
    for group in several:
        told = {clip.source: None for clip in group if clip.source}
        if len(told) < 2:
            own = next(iter(told), f"copies of {group[0].key}")
            named |= {clip.key: own for clip in group}
    clips = tuple(
        replace(clip, source=named[clip.key]) if clip.key in named else clip for clip in source.clips
    )
    tested = [
        (clip, members[digests[clip.key]][0]) for clip in source.pool(TEST) if digests[clip.key] in members
    ]
    notes = _notes(several, named)
    if tested:
        clip, other = tested[0]
        notes.append(f"{len(tested)} test clips are copies of training clips, as {clip.key} of {other.key}.")
    return replace(source, clips=clips, notes=(*source.notes, *notes)) if notes else source


def _notes(several: Sequence[Sequence[Clip]], named: Mapping[str, str]) -> list[str]:
    """What is said of groups of copies; `named` has those that stay together."""
    pairs = [(clip, group[0]) for group in several for clip in group[1:]]
    if not pairs:
        return []
    clip, other = pairs[0]
    note = f"{len(pairs)} clips are copies of others, as {clip.key} of {other.key}; "
    note += "they stay on one side of the split"
    apart = [(clip, other) for clip, other in pairs if clip.key not in named]
    if apart:
        clip, other = apart[0]
        note += f", but for {len(apart)} whose table tells other sources, as {clip.key} of {other.key}"
    note += "."
    torn = [(clip, other) for clip, other in pairs if {*clip.labels} != {*other.labels}]
    if torn:
        clip, other = torn[0]
        note += f" {len(torn)} have other labels, as {clip.key} ({', '.join(clip.labels)}) of {other.key} "
        note += f"({', '.join(other.labels)})."
    return [note]
