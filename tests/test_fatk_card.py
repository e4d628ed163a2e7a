"""The card of a run: what its files say, and calls that work."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from fatk import card, cli, folders, scoring
from fatk.serving import ServedTagger
from pipelines.settings import EvaluateSettings, FeatureSettings
from tests.test_fatk_predict_long import CLASSES, RATE, Bands

CONFIG = f"""name = "yard"
seed = 5
[data]
kind = "csv"
path = "/home/somebody/sounds"
table = "/home/somebody/t.csv"
records = "RECORDS"
[features]
rate = {RATE}
bands = 24
[network]
name = "specgram"
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> folders.Run:
    """A finished run's files."""
    folder = tmp_path_factory.mktemp("run")
    made = folders.Run(folder)
    made.config.write_text(CONFIG.replace("RECORDS", str(folder / "records")))
    made.classes.write_text("\n".join(CLASSES) + "\n")
    made.summary.write_text(
        json.dumps({"val_lwlrap": 0.71234, "val_accuracy": None, "parameters": 12345, "epochs": 4})
    )
    scores = [("Low", 0.5, 0.5), ("Middle_of_$it", 0.25, 0.5), ("High", float("nan"), 0), ("Loud", 1, 0)]
    scoring.write_per_class(made.per_class, scores)
    splits = [("a.wav", "curated", "train", "Low"), ("b.wav", "curated", "train", "High")]
    splits += [("c.wav", "noisy", "train", "High"), ("d.wav", "curated", "valid", "High")]
    splits += [("e.wav", "noisy", "", "High")]
    folders.write_rows(made.splits, ("fname", "pool", "split", "labels"), splits)
    licences = [("curated", "a.wav", "CC0"), ("curated", "b.wav", "CC0"), ("noisy", "c.wav", "CC-BY-NC")]
    licences += [("curated", "d.wav", "held out"), ("noisy", "a.wav", "another")]
    folders.write_rows(folder / "records" / "clips.csv", ("pool", "fname", "license"), licences)
    return made


def test_it_says_what_the_files_say(run: folders.Run, capsys) -> None:
    assert card.main(["--model", str(run.folder)]) == 0
    assert capsys.readouterr().out.strip() == str(run.folder / "README.md")
    text = (run.folder / "README.md").read_text()
    for line in (
        "# yard",
        "| network | specgram, 12,345 parameters |",
        "| image | APD, 24 mel bands, 24 columns, 1 s |",
        f"| sound | mono, {RATE} Hz |",
        "| lwlrap, validation | 0.7123 |",
        "| train | curated | 2 |",
        "| train | noisy | 1 |",
        "| valid | curated | 1 |",
        "- 2 x CC0",
        "- 1 x CC-BY-NC",
        "| 0 | Low | 0.5000 |",
        "| 1 | Middle\\_of\\_$it | 0.2500 |",
        "| 2 | High | no clip |",
        'path = "sounds"',
        'table = "t.csv"',
        "seed = 5",
    ):
        assert line in text.splitlines()
    for absent in ("/home/somebody", str(run.folder), "accuracy", "test", "held out", "another", "threshold"):
        assert absent not in text
    assert "RATE" not in text


def test_what_comes_later_is_told_too(run: folders.Run) -> None:
    rows = [{"class": name, "threshold": 0.25, "positives": 3} for name in CLASSES]
    decided = {"precision": 0.9, "clips": 40, "temperature": 1.5, "classes": rows}
    (run.folder / "decisions.json").write_text(json.dumps(decided))
    (run.folder / "formats").mkdir()
    files = [{"file": "model.onnx", "input": "audio", "largest_difference": 2.5e-5}]
    small = {"largest_difference": 0.02, "lwlrap": 0.5, "lwlrap_float32": 0.625, "valid_clips": 9}
    files.append({"file": "image_int8.tflite", "input": "image"} | small)
    told = {"files": files, "clips": 10, "compared_on": "validation clips"}
    (run.folder / "formats" / "formats.json").write_text(json.dumps(told))
    lines = card.write_card(run).read_text().splitlines()
    assert "| 0 | Low | 0.5000 | 0.250 | 3 |" in lines
    assert any(
        line.startswith("Thresholds are for a precision of 0.9 on 40 validation clips") for line in lines
    )
    assert "| formats/model.onnx | audio | 2.5e-05 |  |" in lines
    assert "| formats/image_int8.tflite | image | 2.0e-02 | 0.5000 (float32: 0.6250, 9 clips) |" in lines
    shutil.rmtree(run.folder / "formats")
    (run.folder / "decisions.json").unlink()


def test_a_run_without_tables_says_so(tmp_path: Path) -> None:
    run = folders.Run(tmp_path)
    run.config.write_text('name = "bare"\n')
    run.classes.write_text("a\n")
    text = card.write_card(run).read_text()
    assert "Which clips were used is not told" in text
    assert "| 0 | a |" in text
    assert "lwlrap" not in text
    with pytest.raises(cli.UserError, match="neither a run nor an ensemble"):
        card.write_card(folders.Run(tmp_path / "none"))


def test_an_ensembles_card(tmp_path: Path) -> None:
    members = [
        {"run": f"r_{n}", "network": "specgram", "format": "APD", "bands": 64, "seconds": 2.0, "val_lwlrap": score}
        for n, score in enumerate((0.5, None))
    ]  # fmt: skip
    members[1] |= {"format": "AHL", "width": 128}
    told = {"mean": {"kind": "geometric"}, "members": members, "sampling_rate": 22050, "classes": ["a", "b"]}
    told["validation"] = {"clips": 7, "lwlrap": 0.81}
    (tmp_path / "ensemble.json").write_text(json.dumps(told))
    (tmp_path / "classes.txt").write_text("a\nb\n")
    lines = card.write_card(folders.Run(tmp_path)).read_text().splitlines()
    assert "The geometric mean of 2 networks." in lines
    assert "| r\\_0 | specgram | APD, 64 mel bands, 64 columns, 2 s | 0.5000 |" in lines
    assert "| r\\_1 | specgram | AHL, 64 mel bands, 128 columns, 2 s |  |" in lines
    assert "On the 7 clips that all of them held out: lwlrap 0.8100." in lines
    assert any("22050 Hz" in line for line in lines)


def code(run: folders.Run, language: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", card.write_card(run).read_text(), re.DOTALL)
    assert len(found) == 1
    return found[0]


def test_the_python_works(run: folders.Run, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    features, evaluate = FeatureSettings(rate=RATE, bands=24), EvaluateSettings(crops=2)
    ServedTagger(Bands(), features, evaluate, CLASSES, run.classes).save(run.saved_model)
    time = np.arange(2 * RATE) / RATE
    soundfile.write(run.folder / "clip.wav", 0.3 * np.sin(2 * np.pi * 440 * time), RATE, "PCM_16")
    monkeypatch.chdir(run.folder)
    text = code(run, "python")
    assert len(text.splitlines()) == 5
    exec(text, {})
    shown = re.findall(r"\(np\.float32\(([\d.]+)\), '(.*?)'\)", capsys.readouterr().out)
    from fatk.tagger import SavedTagger

    wanted = SavedTagger(run.folder).top(run.folder / "clip.wav", 3)
    assert [name for _, name in shown] == [name for name, _ in wanted]
    assert [float(score) for score, _ in shown] == pytest.approx([score for _, score in wanted], abs=1e-5)


def test_curl_sends_the_file(run: folders.Run, tmp_path: Path) -> None:
    (tmp_path / "clip.wav").write_bytes(bytes(range(256)) * 9)
    text = code(run, "sh")
    assert "curl --data @- http://localhost:8501/v1/models/fatk:predict" in text
    sent = subprocess.run(
        ["bash", "-c", text.replace("curl --data @- http://localhost:8501/v1/models/fatk:predict", "cat")],
        cwd=tmp_path, capture_output=True, check=True,
    ).stdout  # fmt: skip
    import base64

    body = json.loads(sent)
    assert body["signature_name"] == "wav"
    assert base64.b64decode(body["instances"][0]["b64"]) == bytes(range(256)) * 9
    script = code(run, "js")
    assert "/v1/models/fatk:predict" in script
    assert 'signature_name: "wav", instances: [{ b64 }]' in script
