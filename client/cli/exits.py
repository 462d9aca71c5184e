"""What `firedeck` ends with, for scripts: `firedeck docs cli` has the same list.

0    done
1    refused, failed, or no answer
2    the words are wrong: nothing was asked
3    not available on this engine
4    `--wait-timeout` has passed: it was asked for, and is not given up
130  interrupted with Ctrl-C
"""

from __future__ import annotations

from client.errors import FailedPrecondition, FiredeckError, InvalidArgument, Unimplemented, WaitedTooLong

DONE, FAILED, USAGE, NOT_HERE, TIMED_OUT, INTERRUPTED = 0, 1, 2, 3, 4, 130


def status_of(error: FiredeckError, *, asked: bool = True) -> int:
    """The exit status that an error means. `asked`: whether an engine was; a word that is refused before is a slip."""
    if isinstance(error, Unimplemented):
        return NOT_HERE
    if not asked and isinstance(error, InvalidArgument) and not isinstance(error, FailedPrecondition):
        return USAGE
    return TIMED_OUT if isinstance(error, WaitedTooLong) else FAILED
