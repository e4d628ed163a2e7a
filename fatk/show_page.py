"""One HTML file that needs nothing else: pictures and sounds lie in it as data, and nothing is fetched."""

import base64
import html
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from fatk.show_themes import DOTS, Picture

_NATURAL = 84  # screen pixels an inch of a picture at its natural size
_SHRINKS = 5.5  # inches up to which a picture shrinks with the screen; a larger one scrolls in its frame
_WIDE = 6.5  # inches from which on a picture has a row of its own

_STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;--card:#f6f8fa;
--link:#0b57d0}
@media (prefers-color-scheme:dark){:root{--paper:#0f1318;--ink:#e6e9ed;--soft:#a3acb8;--line:#343c47;
--card:#171c23;--link:#8ab4f8}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:1rem/1.5 system-ui,sans-serif;
overflow-wrap:anywhere}
header,main{max-width:82rem;margin:0 auto;padding:0 1rem}
h1{font-size:1.7rem;margin:1.2rem 0 .2rem}
h2{font-size:1.3rem;margin:2.2rem 0 .5rem;padding-top:.8rem;border-top:1px solid var(--line)}
h3{font-size:1rem;margin:0 0 .3rem}
p{max-width:50rem;margin:.3rem 0 .8rem}
a{color:var(--link)}
nav ul{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;margin:.6rem 0;padding:0;list-style:none}
nav a{display:inline-block;padding:.35rem 0}
.skip{position:absolute;left:-99rem}
.skip:focus{left:1rem;top:.5rem;padding:.5rem;background:var(--paper)}
:focus-visible{outline:3px solid var(--link);outline-offset:2px}
article{margin:0 0 1rem;padding:.8rem;background:var(--card);border:1px solid var(--line);border-radius:.5rem}
article p{margin-bottom:.5rem}
.pictures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:.8rem}
figure{margin:0;min-width:0}
figcaption{color:var(--soft);font-size:.8rem}
.frame{overflow-x:auto;background:var(--paper);border-radius:.3rem}
img{display:block;width:100%;height:auto;margin:0 auto}
.wide{grid-column:1/-1}
.wide img{width:auto}
audio{display:block;width:100%;max-width:34rem;margin:.3rem 0 .6rem}
details{margin:.6rem 0}
summary{cursor:pointer;padding:.35rem 0}
table{border-collapse:collapse;font-size:.9rem;overflow-wrap:normal}
caption{text-align:left;color:var(--soft);padding:.2rem 0}
th,td{padding:.2rem .7rem .2rem 0;text-align:right;border-bottom:1px solid var(--line);font-weight:400}
th:first-child{text-align:left}
thead th{font-weight:600;vertical-align:bottom}
"""


@dataclass(frozen=True)
class Sound:
    """What a player plays."""

    label: str
    wav: bytes


@dataclass(frozen=True)
class Table:
    """Numbers that a picture shows, folded away."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Part:
    """What belongs together: words, maybe a player, pictures, maybe their numbers."""

    title: str = ""
    text: str = ""
    sound: Sound | None = None
    pictures: tuple[Picture, ...] = ()
    table: Table | None = None


@dataclass(frozen=True)
class Section:
    """A heading, what to look for, and parts."""

    anchor: str
    title: str
    text: str
    parts: tuple[Part, ...] = ()


def _data(kind: str, content: bytes) -> str:
    """Bytes -> an address that holds them."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _picture(picture: Picture) -> str:
    """A figure; one that is wide scrolls in its frame, by keys too."""
    columns, rows = struct.unpack(">II", picture.png[16:24])  # of the PNG's header
    width, height = (round(size * _NATURAL / DOTS) for size in (columns, rows))
    most = round(1.25 * width)
    alt = html.escape(picture.alt)
    name = html.escape(picture.name)
    scrolls, least = "", 0
    if columns / DOTS > _SHRINKS:
        scrolls, least = f' tabindex="0" role="region" aria-label="{name}, scrolls sideways"', width
    return (
        f'<figure{" class=wide" if columns / DOTS > _WIDE else ""}><div class="frame"{scrolls}><picture>'
        f'<source media="(prefers-color-scheme: dark)" srcset="{_data("image/webp", picture.dark)}">'
        f'<img alt="{alt}" width="{width}" height="{height}" style="min-width:{least}px;max-width:{most}px" '
        f'src="{_data("image/webp", picture.light)}">'
        f"</picture></div><figcaption>{name}.png</figcaption></figure>"
    )


def _table(table: Table) -> str:
    """A table that unfolds."""
    title = html.escape(table.title)
    head = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in table.columns)
    rows = "".join(
        f'<tr><th scope="row">{html.escape(first)}</th>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for first, *cells in table.rows
    )
    return (
        f"<details><summary>{title}</summary>"
        f'<div class="frame" tabindex="0" role="region" aria-label="{title}, scrolls sideways"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></details>"
    )


def _part(part: Part) -> str:
    """An article."""
    made = [f"<h3>{html.escape(part.title)}</h3>" if part.title else ""]
    made.append(f"<p>{html.escape(part.text)}</p>" if part.text else "")
    if part.sound:
        label = html.escape(part.sound.label)
        made.append(
            f'<audio controls aria-label="{label}" src="{_data("audio/wav", part.sound.wav)}"></audio>'
        )
    if part.pictures:
        made.append(f'<div class="pictures">{"".join(map(_picture, part.pictures))}</div>')
    made.append(_table(part.table) if part.table else "")
    return f"<article>{''.join(made)}</article>"


def page(title: str, text: str, sections: Sequence[Section]) -> str:
    """-> the whole page. Its policy forbids the browser to fetch anything."""
    links = "".join(f'<li><a href="#{s.anchor}">{html.escape(s.title)}</a></li>' for s in sections)
    body = "\n".join(
        f'<section id="{s.anchor}" aria-labelledby="{s.anchor}-title">'
        f'<h2 id="{s.anchor}-title">{html.escape(s.title)}</h2><p>{html.escape(s.text)}</p>'
        + "\n".join(map(_part, s.parts))
        + "</section>"
        for s in sections
    )
    policy = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{html.escape(title)}</title>\n<style>{re.sub(chr(10), '', _STYLE)}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#main">Skip to the pictures</a>\n'
        f"<header><h1>{html.escape(title)}</h1><p>{html.escape(text)}</p>"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav></header>\n'
        f'<main id="main" tabindex="-1">\n{body}\n</main>\n</body>\n</html>\n'
    )
