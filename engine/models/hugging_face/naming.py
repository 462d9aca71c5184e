"""What a converted model calls itself. llama.cpp tells by that name whether special tokens take the spaces after them:
of a "phi-3" all do but three, which a vocabulary then has to have; of any other none does. So a name says it here where
the tokenizer does it, and nowhere else.

Source: llama.cpp's src/llama-vocab.cpp ("set attributes by model/tokenizer/architecture name").
"""

from __future__ import annotations

import re
from typing import Any

from engine.models.hugging_face.fields import unfit

_PHI3 = re.compile("phi-?3", re.IGNORECASE)
_KEEP = {"<unk>", "<s>", "<|endoftext|>"}  # of a phi-3 they take no spaces
_END = "</s>"


def named(name: str, tokenizer: Any) -> str:
    """`name`, or as much of it as does not mislead. FailedPrecondition for a tokenizer (tokenizer.json, parsed) whose
    tokens take spaces in a way that no name stands for."""
    listed = tokenizer.get("added_tokens") if isinstance(tokenizer, dict) else None
    added = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    texts = {str(one.get("content")) for one in added}
    takes = {str(one.get("content")) for one in added if one.get("rstrip")}
    if any(one.get("lstrip") for one in added) or takes not in (set(), texts - _KEEP):
        raise unfit("some of its special tokens take the spaces beside them (lstrip, rstrip), and others do not")
    if not takes:
        return _PHI3.sub("phi 3", name)
    if not {_END, *_KEEP} <= texts:
        raise unfit(
            f"its special tokens take the spaces after them (rstrip), and {', '.join(sorted(_KEEP))} are missing"
        )
    return name if _PHI3.search(name) else f"{name} (phi-3)"
