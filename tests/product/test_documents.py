"""The file of examples is what the documents show, and each of them is run by a test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.product.documents import Snippet, read, run_here, snippets

PRODUCT = os.environ.get("FIREDECK_PRODUCT", "")

TEXT = """To make one, run:

firectl create it \\
    --flag="X"

curl --data '{
  "a": 1
}'
Then pass --min-count=0 or --wait to `firectl get it`, of accounts/a/models/<ID>; a dash — no flag.
```python
f(1)
```
### `g()`
* `x` *int* - What for
"""


def test_snippets_are_found_whole_and_once() -> None:
    assert snippets("d", TEXT) == [
        Snippet("d", 3, "command", 'firectl create it \\\n    --flag="X"'),
        Snippet("d", 6, "command", "curl --data '{\n  \"a\": 1\n}'"),
        Snippet("d", 9, "command", "firectl get it"),
        Snippet("d", 9, "flag", "--min-count=0"),
        Snippet("d", 9, "flag", "--wait"),
        Snippet("d", 9, "name", "accounts/a/models/<ID>"),
        Snippet("d", 11, "code", "f(1)"),
        Snippet("d", 13, "call", "g()"),
        Snippet("d", 14, "argument of g", "x"),
    ]


def test_a_document_that_begins_within_a_block_has_that_block() -> None:
    assert snippets("d", "## Heading\n\nf()\n```\n") == [Snippet("d", 3, "code", "f()")]


def test_what_is_not_run_says_why_and_most_is_run() -> None:
    every = read()
    assert len({one.snippet for one in every}) == len(every)
    assert sum(bool(one.not_run) for one in every) < len(every) / 10
    assert {one.snippet.kind for one in every} > {"command", "code", "flag", "name", "call"}
    assert len(run_here("command")) >= 8


@pytest.mark.skipif(not PRODUCT, reason="the documents are not at hand: FIREDECK_PRODUCT names their folder")
def test_the_file_is_what_the_documents_show() -> None:
    documents = sorted(Path(PRODUCT).glob("*.txt"))
    shown = [one for path in documents for one in snippets(path.name, path.read_text())]
    assert shown
    assert sorted(one.snippet for one in read()) == sorted(shown)
