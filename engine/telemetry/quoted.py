"""An error's text without what it quotes of the request: a secret may have been put there by mistake."""

from __future__ import annotations

import re
from collections.abc import Collection

# As `repr` writes it, escapes included; an apostrophe within or behind a word begins none.
_QUOTED = re.compile(r"""(?<!\w)'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)


def unquoted(message: str, known: Collection[str] = ()) -> str:
    """The words of our own; in place of each quotation, whatever it holds, stands '...'. One of a name that is `known`
    to whoever reads this stays."""
    return _QUOTED.sub(lambda found: found[0] if found[0][1:-1] in known else "'...'", message)
