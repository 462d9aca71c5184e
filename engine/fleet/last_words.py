"""What a replica logged before it ended, as everybody may read it in a status: files by their names, for where they lie
on the engine's machine is for admins, who have the log itself. Pure."""

from __future__ import annotations

import re

_QUOTED = re.compile(r"""(['"`])~?/[^'"`\n]*/""")  # within quotes a folder's name may have blanks
_FOLDERS = re.compile(r"(?<![\w/.:@-])(?:~?/)(?:[^\s/'\"`,;:()<>]+/)+")


def without_folders(text: str) -> str:
    """`cannot read /home/ada/models/a.gguf: no` -> `cannot read a.gguf: no`; URLs stay."""
    return _FOLDERS.sub("", _QUOTED.sub(r"\1", text))
