"""Test material that others publish: fetched once with pip into the cache folder, held to its SHA-256."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from filelock import FileLock

from client.errors import InvalidArgument
from engine.models.fetch import cache_dir
from engine.replica.schema import to_gbnf

SUITE = ("jsonschema==4.26.0", "jsonschema-4.26.0.tar.gz")  # its source package carries JSON-Schema-Test-Suite (MIT)
SUITE_SHA256 = "0c26707e2efad8aa1bfc5b7ce170f3fccc2e4918ff85989ba9ffa9facb2be326"


class SuiteSchema(NamedTuple):
    """A schema of the suite: its draft ("2020-12"), where it stands, itself, and instances that are valid."""

    draft: str
    place: str
    schema: Any
    valid: list[Any]


def suite_schemas() -> list[SuiteSchema]:
    """Every schema of JSON-Schema-Test-Suite, newest draft first, each once whatever its $schema says."""
    found: dict[str, SuiteSchema] = {}
    with tarfile.open(suite_file()) as archive:
        members = [member for member in archive if "/json/tests/draft" in member.name and member.name.endswith(".json")]
        for member in sorted(members, key=lambda member: (_age(member.name), member.name)):
            file = archive.extractfile(member)
            assert file is not None
            for case in json.load(file):
                place = f"{Path(member.name).name}: {case['description']}"
                valid = [test["data"] for test in case["tests"] if test["valid"]]
                entry = SuiteSchema(_draft(member.name), place, case["schema"], valid)
                found.setdefault(_text(entry.schema), entry)
    return [entry for entry in found.values() if entry.draft != "-next"]


def suite_file() -> Path:
    """The suite's archive in the cache folder, fetched if it is not there."""
    requirement, name = SUITE
    target = cache_dir() / "tests" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not target.exists():
            _bring(requirement, target)
    return target


def _bring(requirement: str, target: Path) -> None:
    """pip's own settings (index, proxy, certificates) apply; it asks the package's build for its name and version."""
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", requirement.split("=")[0]]
        command += ["--dest", folder, "--no-cache-dir", "--disable-pip-version-check", "--no-input", requirement]
        done = subprocess.run(command, env=os.environ | {"TMPDIR": folder}, capture_output=True, text=True, check=False)
        brought = Path(folder) / target.name
        if not brought.exists():
            pytest.fail(f"{requirement} could not be fetched: {done.stdout[-500:]} {done.stderr[-500:]}")
        digest = hashlib.sha256(brought.read_bytes()).hexdigest()
        assert digest == SUITE_SHA256, f"{target.name} is not the recorded file ({digest})"
        shutil.move(brought, target)


def _draft(path: str) -> str:
    return path.split("/json/tests/draft")[1].split("/")[0]


def _age(path: str) -> int:
    order = ["2020-12", "2019-09", "7", "6", "4", "3", "-next"]
    return order.index(_draft(path))


def _text(schema: Any) -> str:
    bare = {key: value for key, value in schema.items() if key != "$schema"} if isinstance(schema, dict) else schema
    return json.dumps(bare, sort_keys=True)


def accepted(schemas: list[SuiteSchema]) -> Iterator[tuple[SuiteSchema, str]]:
    """Those that the converter takes, with their grammars."""
    for entry in schemas:
        try:
            yield entry, to_gbnf(entry.schema, "schema")
        except InvalidArgument:
            continue
