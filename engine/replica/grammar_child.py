"""`python -m engine.replica.grammar_child`: follows grammars for one replica, which kills it when one takes too long.

Ends with its parent: stdin is a pipe that nobody writes to, and its end means that the replica is gone, even while
llama.cpp is busy with a grammar.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections import OrderedDict

from engine.replica.grammar_wire import ADVANCE, CLOSE, FILL, HEADER, NO, OPEN, READY, YES, Memory, read_opening
from engine.replica.llama import Automaton, load_vocabulary, mark_unfit, start_backend

MAX_PARSED = 32  # grammars kept at their beginning, so that repeated ones are cloned instead of parsed


class Follower:
    """The positions of one child, by the number that the parent gave them."""

    def __init__(self, path: str, memory_file: int, row: int) -> None:
        self._vocabulary = load_vocabulary(path)
        self._memory = Memory(memory_file, self._vocabulary.size)
        self._row = row
        if not self._memory.mark[0]:
            mark_unfit(self._vocabulary, self._memory.unfit)
            self._memory.mark[0] = 1
        self._memory.clocks[row] = time.process_time()  # until now it was the clock of the row's last owner
        self._positions: dict[int, Automaton] = {}
        self._parsed: OrderedDict[str, Automaton] = OrderedDict()

    def answer(self, operation: int, position: int, token: int, body: bytes) -> int:
        """Carry out one request; YES or NO."""
        self._memory.clocks[self._row] = time.process_time()
        if operation == OPEN:
            return self._open(position, body)
        if operation == CLOSE:
            self._positions.pop(position).close()
            return YES
        automaton = self._positions[position]
        if operation == FILL:
            automaton.fill(self._memory.rows[self._row])
            return YES
        return YES if (automaton.advance if operation == ADVANCE else automaton.allows)(token) else NO

    def _open(self, position: int, body: bytes) -> int:
        gbnf, tokens, visible = read_opening(body)
        try:
            automaton = self._beginning(gbnf).clone(visible)
        except ValueError:
            return NO
        if not all(automaton.advance(token) for token in tokens):
            return NO
        self._positions[position] = automaton
        return YES

    def _beginning(self, gbnf: str) -> Automaton:
        if gbnf not in self._parsed:
            self._parsed[gbnf] = Automaton.parse(self._vocabulary, self._memory.unfit, gbnf)
            if len(self._parsed) > MAX_PARSED:
                self._parsed.popitem(last=False)
        self._parsed.move_to_end(gbnf)
        return self._parsed[gbnf]


def serve(channel: socket.socket, follower: Follower) -> None:
    """Answer requests until the channel closes."""
    channel.sendall(bytes([READY]))
    while header := channel.recv(HEADER.size, socket.MSG_WAITALL):
        operation, position, token, length = HEADER.unpack(header)
        body = channel.recv(length, socket.MSG_WAITALL) if length else b""
        answer = follower.answer(operation, position, token, body)
        if operation != CLOSE:
            channel.send(bytes([answer]))


def _end_with_parent() -> None:
    os.read(0, 1)
    os._exit(0)


def main() -> None:
    path, channel_file, memory_file, row = sys.argv[1], *(int(word) for word in sys.argv[2:5])
    threading.Thread(target=_end_with_parent, daemon=True).start()
    start_backend()
    with socket.socket(fileno=channel_file) as channel:
        serve(channel, Follower(path, memory_file, row))


if __name__ == "__main__":
    main()
