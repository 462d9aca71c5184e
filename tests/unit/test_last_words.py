"""A replica's last words tell nobody where files lie."""

from __future__ import annotations

import pytest

from engine.fleet.last_words import without_folders


@pytest.mark.parametrize(
    ("logged", "told"),
    [
        ("/home/ada/models/a.gguf is not a GGUF file", "a.gguf is not a GGUF file"),
        ("failed to open '/srv/x y/a.gguf' (No such file)", "failed to open 'a.gguf' (No such file)"),
        ("cannot load ~/m/a.gguf: broken | /tmp/b.gguf", "cannot load a.gguf: broken | b.gguf"),
        ("see https://host/a/b for 3/4 of it, and/or ./c/d", "see https://host/a/b for 3/4 of it, and/or ./c/d"),
        ("open(\"/etc/firedeck/keys/admin.key\")", "open(\"admin.key\")"), ("", ""), ("/", "/"),
    ],
)  # fmt: skip
def test_files_go_by_their_names(logged: str, told: str) -> None:
    assert without_folders(logged) == told
