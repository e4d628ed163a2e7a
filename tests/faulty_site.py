"""A web server on this machine with the faults of the real one, and records as Zenodo's API lists them."""

import hashlib
import io
import json
import zipfile
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


class Site(ThreadingHTTPServer):
    """Files by path, and how each of them goes wrong."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.files: dict[str, bytes] = {}
        self.ranges = True  # knows the header Range
        self.lengths = True  # says how many bytes will come
        self.drops: dict[str, list[int]] = {}  # bytes after which each of the next answers breaks off
        self.wrong: Counter[str] = Counter()  # so many answers have a wrong byte
        self.busy: Counter[str] = Counter()  # so many answers are 503
        self.asked: list[tuple[str, str]] = []  # (last part of the path, Range)

    def ranges_of(self, name: str) -> list[str]:
        """The header Range of each request for a file."""
        return [wanted for asked, wanted in self.asked if asked == name]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away early is no news."""


class Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        site, path = self.server, urlsplit(self.path).path
        name = path.removesuffix("/content").rsplit("/", 1)[-1]
        wanted = self.headers.get("Range", "")
        site.asked.append((name, wanted))
        if path not in site.files or site.busy[name] > 0:
            site.busy[name] -= 1
            self.send_error(503 if path in site.files else 404)
            return
        content, start = bytearray(site.files[path]), 0
        if site.wrong[name] > 0:
            site.wrong[name] -= 1
            content[len(content) // 2] ^= 1
        if wanted and site.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206 if start < len(content) else 416)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        body = bytes(content[start:])
        if site.lengths:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        drops = site.drops.get(name)
        self.wfile.write(body[: drops.pop(0)] if drops else body)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def publish(site: Site, number: int, files: Mapping[str, bytes]) -> None:
    """A record of Zenodo, as its API lists it, and its files."""
    at = f"/api/records/{number}"
    listed = []
    for name, content in files.items():
        site.files[f"{at}/files/{name}/content"] = content
        md5 = hashlib.md5(content).hexdigest()
        address = f"https://zenodo.org{at}/files/{name}/content"
        listed.append(
            {"key": name, "size": len(content), "checksum": f"md5:{md5}", "links": {"self": address}}
        )
    site.files[at] = json.dumps({"id": number, "files": listed}).encode()


def zipped(files: Mapping[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()
