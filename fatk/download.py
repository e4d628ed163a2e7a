"""One file from the web to disk, whole and right or not at all.

pooch holds the checksum and puts the file in place. What it does not do is done by `Resuming`, the downloader
that it is given: a connection that broke goes on where it broke, in this run or in the next one.
"""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pooch
import requests

from fatk import cli

MIB = 1 << 20  # bytes
DELAYS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)  # seconds before each new try that follows one without progress
FIRST_DELAYS = 2  # so many of them where nothing has come yet: the address may be wrong

_BLOCK = 1 << 16  # bytes; what is lost at most where a connection breaks
_PROGRESS = MIB  # bytes; a try that brought so many was worth it, and the delays begin anew
_TIMEOUT = (10.0, 60.0)  # seconds, to connect and between two blocks
_LONGEST_WAIT = 120.0  # seconds that a server may ask for
_HEADERS = {"User-Agent": "fatk.fetch", "Accept-Encoding": "identity"}  # bytes as they are, to count them

pooch.get_logger().setLevel("WARNING")  # it would tell of every file, between our bars


class _Again(Exception):
    """A try that failed and may be repeated; `wait` is the server's wish in seconds."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


def _ask(url: str, headers: Mapping[str, str]) -> requests.Response:
    """One GET -> an answer 200, 206 or 416 whose body is still to be read. Raises `_Again`, `UserError`."""
    try:
        answer = requests.get(url, headers={**_HEADERS, **headers}, stream=True, timeout=_TIMEOUT)
    except requests.ConnectionError as error:
        cause = error.args[0] if error.args else error
        reason = type(getattr(cause, "reason", cause)).__name__
        raise _Again(f"{urlsplit(url).hostname} cannot be reached ({reason})") from None
    except requests.Timeout:
        raise _Again(f"{urlsplit(url).hostname} does not answer") from None
    except requests.RequestException as error:
        raise cli.UserError(f"{url}: {error}") from None
    status = answer.status_code
    if status in (200, 206, 416):
        return answer
    answer.close()
    if status in (408, 425, 429) or status >= 500:
        wish = answer.headers.get("Retry-After", "")
        raise _Again(f"{url}: the server answers {status}", float(wish) if wish.isdigit() else 0.0)
    raise cli.UserError(f"{url}: the server answers {status} {answer.reason}.")


def _pause(tries: int, limit: int, error: _Again, kept: str = "") -> None:
    """Wait before try `tries` + 1, or give up with one line."""
    if tries > min(limit, len(DELAYS)):
        raise cli.UserError(f"{error}; given up after {tries} tries.{kept}")
    seconds = max(DELAYS[tries - 1], min(error.wait, _LONGEST_WAIT))
    cli.say(f"{error}; trying again in {seconds:g} s")
    time.sleep(seconds)


def get_json(url: str) -> Any:
    """A small JSON document. Raises `UserError` where there is none."""
    tries = 0
    while True:
        try:
            with _ask(url, {"Accept": "application/json"}) as answer:
                return answer.json()
        except requests.JSONDecodeError:
            raise cli.UserError(f"{url}: the answer is not JSON.") from None
        except requests.RequestException:
            failed = _Again(f"{url}: the connection broke")
        except _Again as error:
            failed = error
        tries += 1
        _pause(tries, FIRST_DELAYS, failed)


class Resuming:
    """A downloader for pooch: `size` bytes into `part`, going on where that file ends."""

    def __init__(self, part: Path, size: int, advance: Callable[[], None]) -> None:
        """`advance` is called for each MiB that is new."""
        self.part, self.size = part, size
        self._advance = advance
        self._told = self._have() // MIB

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> None:
        """pooch's call: when all bytes are here, the part becomes `output_file`."""
        best, first, tries = self._have(), self._have(), 0
        while self._have() != self.size:
            try:
                self._go_on(url)
            except (_Again, requests.RequestException) as error:
                failed = error if isinstance(error, _Again) else _Again(self._broken())
            else:
                failed = _Again(self._broken())
            if self._have() == self.size:
                break
            if self._have() >= best + _PROGRESS:
                tries = 0
            best, tries = max(best, self._have()), tries + 1
            limit = len(DELAYS) if best > first else FIRST_DELAYS
            _pause(tries, limit, failed, f" {best / 1e6:.1f} MB of it are kept." if best else "")
        os.replace(self.part, output_file)

    def _broken(self) -> str:
        name = self.part.name.removesuffix(".part")
        return f"{name}: the connection broke at {self._have() / 1e6:.1f} of {self.size / 1e6:.1f} MB"

    def _go_on(self, url: str) -> None:
        """One request for what is missing; a server that knows no ranges sends all of it once more."""
        have = self._have()
        if have > self.size:
            self.part.unlink()
            have = 0
        with _ask(url, {"Range": f"bytes={have}-"} if have else {}) as answer:
            going_on = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            if answer.status_code == 416 or (answer.status_code == 206 and not going_on):
                self.part.unlink(missing_ok=True)
                raise _Again(f"{url}: the server does not go on at byte {have}")
            with self.part.open("ab" if answer.status_code == 206 else "wb") as file:
                at = file.tell()
                for block in answer.iter_content(_BLOCK):
                    file.write(block)
                    at += len(block)
                    while at // MIB > self._told:
                        self._told += 1
                        self._advance()
                    if at > self.size:
                        raise _Again(f"{url}: more bytes than the {self.size} that are published")


def download(url: str, name: str, size: int, checksum: str, folder: Path, title: str) -> Path:
    """A file of `size` bytes and "algorithm:hex" `checksum` -> its place in `folder`, with a bar.

    Nothing is loaded where it lies there already. Wrong bytes are deleted and loaded once more; then
    `UserError` tells which checksum was expected and which one found.
    """
    part = folder / f"{name}.part"
    for attempt in (1, 2):
        left = size - (part.stat().st_size if part.exists() else 0)
        with cli.progress(title, max(left, 0) // MIB + 1, "MiB") as advance:
            downloader = Resuming(part, size, advance)
            try:
                file = pooch.retrieve(url, checksum, fname=name, path=folder, downloader=downloader)
            except cli.UserError:
                raise
            except ValueError as error:  # pooch's: the bytes are wrong, and gone
                told = str(error).split(". ")[0]
                problem = f"{name}: wrong checksum, {told.partition('known hash: ')[2] or told}"
            else:
                advance()
                return Path(file)
        if attempt == 1:
            cli.say(f"{problem}; loading it once more")
    raise cli.UserError(f"{problem}, twice; the file is deleted.")
