"""The service over real connections: its routes against the model itself, and clients that mean no good."""

import base64
import io
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fatk
from fatk.config import Config, to_toml
from fatk.tagger import SavedTagger
from tests import served
from tests.hostile import BODIES, UPLOADS, cut_wav, encoded, sound
from tests.served import CLASSES, LABEL, Server

pytestmark = pytest.mark.slow

BODY, SECONDS = 3.0, 20.0  # MB of a body, seconds of a clip
PREDICT = "/v1/models/fatk:predict"


@pytest.fixture(scope="module")
def model(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = served.fit(shared, tmp_path_factory.mktemp("model"))
    (made / "assets" / "config.toml").write_text(to_toml(Config(name="small", features=served.SETTINGS)))
    return made


@pytest.fixture(scope="module")
def tagger(model: Path) -> SavedTagger:
    return fatk.load(model)


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[Server]:
    options = ("--body-mb", str(BODY), "--clip-seconds", str(SECONDS), "--delay-ms", "20")
    with served.service(model, *options) as running:
        yield running


@pytest.fixture(scope="module")
def clip(shared: Path) -> Path:
    return shared / "esc10" / "audio" / served.CLIP


def close(found: Any, wanted: Any) -> None:
    np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), atol=2e-6)


# ---- TensorFlow Serving's routes


def test_status_and_metadata(server: Server, tagger: SavedTagger) -> None:
    for base in ("/v1/models/fatk", "/v1/models/fatk/versions/1"):
        (version,) = server.ask("GET", base).json["model_version_status"]
        assert (version["version"], version["state"]) == ("1", "AVAILABLE")
        told = server.ask("GET", f"{base}/metadata").json
        assert told["model_spec"]["name"] == "fatk"
        signatures = told["metadata"]["signature_def"]["signature_def"]
        assert set(signatures) == set(tagger._model.signatures)
        shape = signatures["ragged"]["inputs"]["lengths"]
        assert (shape["dtype"], shape["tensor_shape"]["dim"]) == ("DT_INT32", [{"size": "-1", "name": ""}])
        assert signatures["wav"]["inputs"]["audio_bytes"]["dtype"] == "DT_STRING"


def test_rows_and_columns_give_what_the_model_gives(server: Server, tagger: SavedTagger) -> None:
    clips = [sound(1.2, seed) for seed in range(3)]
    wanted = tagger.predict_batch(clips)
    rows = [clip.tolist() for clip in clips]
    for body in ({"instances": rows}, {"instances": [{"audio": row} for row in rows]}):
        close(server.ask("POST", PREDICT, body).json["predictions"], wanted)
    for body in ({"inputs": rows}, {"inputs": {"audio": rows}, "signature_name": "serving_default"}):
        close(server.ask("POST", "/v1/models/fatk/versions/1:predict", body).json["outputs"], wanted)


def test_other_signatures(server: Server, tagger: SavedTagger) -> None:
    clip = sound(2.6, 4)
    padded = [*clip.tolist(), *[0.5] * 100]
    ragged = {"signature_name": "ragged", "instances": [{"audio": padded, "lengths": len(clip)}]}
    close(server.ask("POST", PREDICT, ragged).json["predictions"][0], tagger.predict(clip))
    starts, scores = tagger.windows(clip)
    told = server.ask("POST", PREDICT, {"signature_name": "windows", "inputs": clip.tolist()}).json["outputs"]
    close(told["start_seconds"], starts)
    close(told["probabilities"], scores)
    rows = server.ask("POST", PREDICT, {"signature_name": "windows", "instances": clip.tolist()}).json
    assert [row["start_seconds"] for row in rows["predictions"]] == told["start_seconds"]
    names = server.ask("POST", PREDICT, {"signature_name": "classes", "inputs": {}}).json["outputs"]
    assert tuple(names) == CLASSES


@pytest.mark.parametrize("named", [True, False])
def test_wav_files_as_base64(server: Server, tagger: SavedTagger, named: bool) -> None:
    clip = np.rint(sound(1.1, 5) * 32768).astype(np.int16)
    file = {"b64": base64.b64encode(encoded(clip)).decode()}
    body = {"signature_name": "wav", "instances": [{"audio_bytes": file} if named else file] * 2}
    told = server.ask("POST", PREDICT, body).json["predictions"]
    close(told, [tagger.predict(clip.astype(np.float32) / 32768)] * 2)


# ---- uploads


def test_a_clip_is_tagged_and_its_label_is_first(server: Server, tagger: SavedTagger, clip: Path) -> None:
    told = server.ask("POST", "/v1/audio?windows=true&top=2", clip.read_bytes()).json
    assert [tag["label"] for tag in told["tags"]][:1] == [LABEL]
    assert len(told["tags"]) == 2
    assert tuple(told["classes"]) == CLASSES
    close(told["probabilities"], tagger.predict(clip))
    starts, scores = tagger.windows(clip)
    close([window["start"] for window in told["windows"]], starts.round(4))
    close([window["probabilities"] for window in told["windows"]], scores)
    assert server.ask("GET", "/v1/about").json["window_seconds"] == served.SETTINGS.seconds
    assert told["windows"][1]["end"] == pytest.approx(starts[1] + 1.0)
    assert told["windows"][-1]["end"] == pytest.approx(told["seconds"], abs=1e-3)
    assert "image" not in told


@pytest.mark.parametrize(
    ("kind", "subtype", "rate", "channels"),
    [
        ("WAV", "PCM_24", 48000, 2),
        ("WAV", "FLOAT", 16000, 1),
        ("FLAC", "PCM_16", 44100, 3),
        ("OGG", "VORBIS", 22050, 2),
        ("MP3", "MPEG_LAYER_III", 32000, 1),
        ("AIFF", "PCM_16", 8000, 1),
    ],
)
def test_formats_rates_and_channels(
    server: Server, tagger: SavedTagger, tmp_path: Path, kind: str, subtype: str, rate: int, channels: int
) -> None:
    waveform = np.stack([sound(1.5, channel, rate) for channel in range(channels)], axis=1)
    path = tmp_path / "sound"
    path.write_bytes(encoded(waveform, rate, kind, subtype))
    boundary = b"a-boundary"
    form = (
        b"--" + boundary + b'\r\nContent-Disposition: form-data; name="file"; filename="a sound.x"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n" + path.read_bytes() + b"\r\n--" + boundary + b"--\r\n"
    )  # fmt: skip
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary.decode()}"}
    told = server.ask("POST", "/v1/audio", form, headers).json
    assert (told["file"], told["format"], told["rate"]) == ("a sound.x", kind, rate)
    assert told["channels"] == channels
    close(told["probabilities"], tagger.predict(path))


def test_the_image_lies_on_its_seconds_and_the_overlay_on_the_image(server: Server, clip: Path) -> None:
    from PIL import Image

    told = server.ask("POST", "/v1/audio?image=true&waveform=true", clip.read_bytes()).json
    image = Image.open(io.BytesIO(base64.b64decode(told["image"]["png"])))
    assert image.height == told["image"]["bands"] == served.SETTINGS.bands
    assert told["image"]["start"] == 0
    assert told["image"]["end"] == pytest.approx(told["seconds"], abs=0.1)
    assert len(told["waveform"]["low"]) == len(told["waveform"]["high"]) == 1200
    why = server.ask("POST", "/v1/explain?label=Tick-tock", clip.read_bytes()).json
    overlay = Image.open(io.BytesIO(base64.b64decode(why["png"])))
    assert overlay.size == image.size
    assert np.asarray(overlay).max() == 255
    assert server.ask("POST", "/v1/explain?label=Owl", clip.read_bytes()).status == 404


def test_requests_at_once_share_batches_and_keep_their_answers(server: Server, tagger: SavedTagger) -> None:
    clips = [sound(0.5 + 0.1 * (seed % 5), seed) for seed in range(24)]

    def ask(clip: np.ndarray) -> list[float]:
        return server.ask("POST", PREDICT, {"instances": [clip.tolist()]}).json["predictions"][0]

    with ThreadPoolExecutor(12) as pool:
        told = list(pool.map(ask, clips))
    close(told, [tagger.predict(clip) for clip in clips])
    counts = dict(
        line.rsplit(" ", 1)
        for line in server.ask("GET", "/metrics").body.decode().splitlines()
        if line[0] != "#"
    )
    assert float(counts["fatk_batch_clips_sum"]) > float(counts["fatk_batch_clips_count"])
    assert float(counts[f'fatk_requests_total{{method="POST",route="{PREDICT}",status="200"}}']) >= 24
    assert float(counts["fatk_queue_clips"]) == 0


def test_pages_and_description_need_no_other_host(server: Server) -> None:
    for path in ("/", "/docs"):
        page = server.ask("GET", path)
        assert page.status == 200
        assert b"http://" not in page.body.replace(b"http://www.w3.org", b"")
        assert b"https://" not in page.body
        assert "default-src 'none'" in page.headers["content-security-policy"]
    paths = server.ask("GET", "/openapi.json").json["paths"]
    assert {PREDICT, "/v1/models/fatk", "/v1/audio", "/v1/explain", "/healthz", "/metrics"} <= set(paths)


# ---- what must not harm


@pytest.mark.parametrize("what", UPLOADS)
def test_bad_uploads_are_refused_with_a_reason(server: Server, what: str) -> None:
    make, status, word = UPLOADS[what]
    answer = server.ask("POST", "/v1/audio?windows=true&image=true", make())
    assert answer.status == status, answer.body
    assert word in answer.json["error"]
    assert server.alive()


def test_a_wav_that_claims_gigabytes_gives_what_it_has(server: Server) -> None:
    answer = server.ask("POST", "/v1/audio", cut_wav(0xFFFFFFF0))
    assert answer.status == 200
    assert answer.json["seconds"] == pytest.approx(0.01, abs=1e-3)


@pytest.mark.parametrize("what", BODIES)
def test_bad_predict_requests_are_refused_with_a_reason(server: Server, what: str) -> None:
    body, status, word = BODIES[what]
    answer = server.ask("POST", PREDICT, body)
    assert answer.status == status, answer.body
    assert word in answer.json["error"]
    assert server.alive()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/models/other", 404),
        ("POST", "/v1/models/other:predict", 404),
        ("POST", "/v1/models/fatk/versions/2:predict", 404),
        ("GET", "/nowhere", 404),
        ("GET", "/static/../app.py", 404),
        ("GET", PREDICT, 405),
        ("POST", "/v1/audio?top=0", 400),
        ("POST", "/v1/explain", 400),
    ],
)
def test_paths_that_do_not_exist(server: Server, method: str, path: str, status: int) -> None:
    answer = server.ask(method, path, b"x" if method == "POST" else None)
    assert answer.status == status
    assert answer.json["error"]


def raw(server: Server, head: str, body: bytes = b"", pieces: int = 1) -> bytes:
    """Bytes on a connection -> everything that comes back until it is closed."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n")
        try:
            for _ in range(pieces):
                connection.sendall(body)
        except ConnectionError:
            pass  # refused while we were still sending
        answer = b""
        try:
            while piece := connection.recv(65536):
                answer += piece
        except ConnectionError:
            pass
        return answer


@pytest.mark.parametrize("path", ["/v1/audio", PREDICT, "/v1/explain?label=Rain"])
def test_two_gigabytes_are_refused_by_their_declaration(server: Server, path: str) -> None:
    answer = raw(server, f"POST {path} HTTP/1.1\nHost: x\nContent-Length: 2147483648\n", b"some of it")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"3 MB" in answer
    assert server.alive()


def test_a_body_without_a_length_is_counted(server: Server) -> None:
    head = "POST /v1/audio HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n"
    answer = raw(server, head, b"10000\r\n" + bytes(65536) + b"\r\n", pieces=60)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert server.alive()


@pytest.mark.parametrize("length", ["-1", "1e3", "99999999999999999999999"])
def test_lengths_that_are_none(server: Server, length: str) -> None:
    answer = raw(server, f"POST /v1/audio HTTP/1.1\nHost: x\nContent-Length: {length}\n", b"body")
    assert answer.split(b" ")[1] in (b"400", b"413")
    assert server.alive()


def test_a_client_that_leaves_in_the_middle(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"POST /v1/audio HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf")
    assert server.alive()


def test_a_stop_lets_running_requests_end(server: Server, clip: Path) -> None:
    """The last of this file: the service is gone after it."""
    body = clip.read_bytes()
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        head = f"POST /v1/audio HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body[:1000])
        time.sleep(0.3)  # for the head to arrive; what is tested does not hang on it
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        connection.sendall(body[1000:])
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"tags":[{"label":"Tick-tock"' in answer
    assert server.process.wait(30) == 0
