"""A Hugging Face hub of our own on loopback, as `huggingface_hub` and whoever downloads see one: a host that tells what
a file is and sends on to another, which has the bytes by their SHA-256.

Source: https://huggingface.co/docs/hub/api and the headers that huggingface_hub 2.4 reads (`x-repo-commit`,
`x-linked-etag`, `x-linked-size`, `x-error-code`).
"""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Hub:
    """`commits`: the files of each, by path; `main`: the one that the branch is at. `sent`: what the other host has by
    SHA-256, where that is not what it should. `breaks_after`: the connection ends after so many bytes; 0: never."""

    repo: str
    commits: dict[str, dict[str, bytes]]
    main: str
    gated: bool = False
    names_digests: bool = True
    breaks_after: int = 0
    sent: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)  # revisions, in order
    ranges: list[str] = field(default_factory=list)  # of downloads; "" for a whole one
    url: str = ""
    files_url: str = ""

    def find(self, path: str) -> tuple[str, bytes | None, str]:
        """The commit, the file, and how the hub calls what is missing."""
        repo, _, rest = path.strip("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        self.asked.append(revision)
        if self.gated:
            return "", None, "GatedRepo"
        if repo != self.repo:
            return "", None, "RepoNotFound"
        commit = self.main if revision == "main" else revision
        if commit not in self.commits:
            return "", None, "RevisionNotFound"
        return commit, self.commits[commit].get(name), "EntryNotFound"

    def content(self, digest: str) -> bytes:
        every = (content for files in self.commits.values() for content in files.values())
        return self.sent.get(digest) or next(one for one in every if hashlib.sha256(one).hexdigest() == digest)


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *told: object) -> None:
        """Silent."""


class _Front(_Handler):
    def do_HEAD(self) -> None:
        commit, content, problem = self.hub.find(self.path)
        if content is None:
            self.send_response({"GatedRepo": 403, "RepoNotFound": 401}.get(problem, 404))
            self.send_header("x-error-code", problem)
        else:
            digest = hashlib.sha256(content).hexdigest()
            self.send_response(302)
            self.send_header("location", f"{self.hub.files_url}/{digest}")
            self.send_header("x-repo-commit", commit)
            self.send_header("x-linked-size", str(len(content)))
            self.send_header("x-linked-etag", f'"{digest if self.hub.names_digests else digest[:40]}"')
        self.send_header("content-length", "0")
        self.end_headers()


class _Files(_Handler):
    def do_GET(self) -> None:
        asked = self.headers.get("range", "")
        self.hub.ranges.append(asked)
        content = self.hub.content(self.path.strip("/"))
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("content-range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("content-length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : start + self.hub.breaks_after] if self.hub.breaks_after else content[start:])


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """The hub at `hub.url`: what `HF_ENDPOINT` is set to."""
    kinds = [type(kind.__name__, (kind,), {"hub": hub}) for kind in (_Front, _Files)]
    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) for kind in kinds]
    hub.url, hub.files_url = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    threads = [threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()
