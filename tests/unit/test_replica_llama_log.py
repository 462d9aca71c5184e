"""What llama.cpp warns of while it serves is in the replica's log, in so many lines, without what clients wrote."""

from __future__ import annotations

import subprocess
import sys

import pytest

from engine.replica.llama_log import CONTINUED, ERROR, LINE_CHARS, LINES_A_MINUTE, MINUTE_S, WARNING, LlamaLog

DEBUG, INFO = 1, 2
REAL = """
import llama_cpp
from engine.replica import llama
from engine.replica.llama_log import LlamaLog
llama.start_backend()
llama.tell_log(LlamaLog().take)
for _ in range(100):
    assert not llama_cpp.llama_model_load_from_file(b"/nowhere.gguf", llama_cpp.llama_model_default_params())
"""


class Log:
    def __init__(self) -> None:
        self.now_s, self.lines = 0.0, list[str]()
        self.llama = LlamaLog(self.lines.append, lambda: self.now_s)


def test_warnings_and_errors_are_told_and_the_rest_is_not() -> None:
    log = Log()
    for level in (DEBUG, INFO, WARNING, ERROR):
        log.llama.take(level, f"decode: level {level}\n")
    assert log.lines == ["llama.cpp: decode: level 3", "llama.cpp: decode: level 4"]


def test_a_line_may_come_in_pieces_and_belongs_to_the_level_that_it_began_with() -> None:
    log = Log()
    log.llama.take(WARNING, "find_slot: no room for ")
    log.llama.take(CONTINUED, "8 tokens")
    assert log.lines == []
    log.llama.take(CONTINUED, "\nfind_slot: gave up\n")
    log.llama.take(INFO, "decode: fine ")
    log.llama.take(CONTINUED, "so far\n")
    assert log.lines == ["llama.cpp: find_slot: no room for 8 tokens", "llama.cpp: find_slot: gave up"]


@pytest.mark.parametrize(
    "text",
    [
        "parse: error parsing grammar: canary\n",
        'root ::= "canary"\n',
        "  canary\n",
        "canary: \n",
        'llama_grammar: "canary"\n',
    ],
)  # fmt: skip
def test_what_may_be_a_clients_text_is_left_out(text: str) -> None:
    log = Log()
    log.llama.take(ERROR, text)
    assert log.lines == []


def test_a_fault_that_repeats_is_so_many_lines_a_minute_and_a_number() -> None:
    log = Log()
    for _ in range(3):
        for _ in range(1000):
            log.llama.take(ERROR, "decode: failed\n")
        log.now_s += MINUTE_S
    log.llama.take(ERROR, "decode: failed\n")
    said = "llama.cpp: decode: failed"
    more = f"llama.cpp: {1000 - LINES_A_MINUTE} more lines in 60 s"
    assert log.lines == [*([said] * LINES_A_MINUTE + [more]) * 3, said]


def test_a_line_without_an_end_takes_no_memory() -> None:
    log = Log()
    log.llama.take(ERROR, "decode: ")
    for _ in range(1000):
        log.llama.take(CONTINUED, "x" * 1000)
    assert len(log.llama._begun) <= LINE_CHARS
    log.llama.take(CONTINUED, "\n")
    assert len(log.lines[0]) <= LINE_CHARS + len("llama.cpp: ")


def test_the_real_llama_cpp_is_heard_and_bounded() -> None:
    done = subprocess.run([sys.executable, "-c", REAL], capture_output=True, text=True, check=True)
    lines = [line for line in done.stderr.splitlines() if "llama.cpp: " in line]
    assert LINES_A_MINUTE <= len(lines) < 100  # of hundreds, in a minute or, on a machine that stops, a few
    assert any("/nowhere.gguf" in line for line in lines)
