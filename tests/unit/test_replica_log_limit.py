"""A replica's log stays bounded in size, and keeps its end."""

from __future__ import annotations

import os
import subprocess
import sys

from engine.replica.log_limit import CUT, LogLimit


def test_a_log_within_the_limit_is_left_alone(tmp_path):
    with (tmp_path / "log").open("wb") as log:
        log.write(b"one line\n")
        log.flush()
        LogLimit(log.fileno(), limit_bytes=100).check()
    assert (tmp_path / "log").read_bytes() == b"one line\n"


def test_a_flooded_log_is_cut_to_its_last_whole_lines_and_goes_on_without_a_hole(tmp_path):
    path = tmp_path / "log"
    with path.open("wb", buffering=0) as log:
        limit = LogLimit(log.fileno(), limit_bytes=1000, kept_bytes=100)
        for i in range(10_000):
            log.write(b"line %d\n" % i)
            limit.check()
            assert path.stat().st_size <= 1000 + 20
        log.write(b"last words\n")
    kept = path.read_bytes()
    assert CUT in kept
    assert kept.endswith(b"line 9999\nlast words\n")
    assert b"\0" not in kept
    assert all(line.startswith((b"line ", CUT.rstrip(), b"last")) for line in kept.splitlines())


def test_what_a_child_floods_through_the_same_descriptor_is_bounded_too(tmp_path):
    path = tmp_path / "log"
    with path.open("wb", buffering=0) as log:
        limit = LogLimit(log.fileno(), limit_bytes=10_000, kept_bytes=1000)
        for _ in range(5):
            subprocess.run([sys.executable, "-c", "print('y' * 50_000)"], stdout=log, stderr=log, check=True)
            limit.check()
            assert path.stat().st_size <= 1000 + len(CUT)


def test_a_pipe_is_no_log_to_be_cut():
    reading, writing = os.pipe()
    LogLimit(writing, limit_bytes=0).check()
    os.close(reading)
    os.close(writing)
