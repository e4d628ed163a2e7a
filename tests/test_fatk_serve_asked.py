"""What requests ask for, and how one that cannot be is told which part of it is wrong."""

import asyncio
import json
from pathlib import Path

import pytest

from fatk.serve import app
from fatk.serve.settings import ServeSettings
from tests import served

# ---- what is asked


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v1/audio?tpo=3", "takes top, windows, image, waveform. Received: tpo."),
        ("/v1/explain?label=a&Label=b&c=1", "takes label. Received: Label, c."),
    ],
)
def test_misspelt_keys_of_a_query_are_refused(tmp_path: Path, path: str, words: str) -> None:
    built = app.build(served.bare(tmp_path), ServeSettings())
    status, said = asyncio.run(served.ask(built, served.several(b"x"), path))
    assert (status, json.loads(said)) == (400, {"error": f"the query {words}"})


def test_what_utf8_cannot_say_is_refused_all_the_same(tmp_path: Path) -> None:
    built = app.build(served.bare(tmp_path), ServeSettings())
    body = b'{"\\ud800": 1}'
    status, said = asyncio.run(served.ask(built, served.several(body), "/v1/models/fatk:predict"))
    assert status == 400
    assert "\\ud800" in json.loads(said)["error"]
