"""An error's text without what it quotes of the request: a secret may have been put there by mistake."""

from __future__ import annotations

import re

# As `repr` writes it, escapes included; an apostrophe within or behind a word begins none.
_QUOTED = re.compile(r"""(?<!\w)'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)


def unquoted(message: str) -> str:
    """The words of our own; in place of each quotation, whatever it holds, stands '...'."""
    return _QUOTED.sub("'...'", message)
