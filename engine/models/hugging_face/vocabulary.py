"""`tokenizer.json` of a decoder: the vocabulary as GGUF has it, or the reason why it cannot be converted. Pure.

Two families are known. Byte-level BPE (GPT-2's way) is carried over as it is, with the name that llama.cpp has for how
it cuts text into words. BPE with a fallback to bytes is sentencepiece's way: llama.cpp merges there by scores, and
the order of the merges gives them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from client.errors import FiredeckError, InvalidArgument
from engine.models.hugging_face.fields import unfit

NAME, CONFIG, TEMPLATE = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"
TEMPLATE_CHARS_MAX = 1 << 20
# Types of tokens: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6
_SPACE = "\u2581"  # sentencepiece's space
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_WORDS = {
    (("Digits", True), ("ByteLevel", True)): "smollm",
    (("ByteLevel", True),): "gpt-2",
    (("Split", _LLAMA3), ("ByteLevel", False)): "llama-bpe",
    (("Split", _QWEN2), ("ByteLevel", False)): "qwen2",
}  # by the parts of the pre-tokenizer: llama.cpp's names of them
_COMPOSED = ("qwen2",)  # text goes through NFC before; llama.cpp leaves that to whoever wrote the text

Metadata = dict[str, str | bool | int | float | list[str] | list[int] | list[float]]


@dataclass(frozen=True, slots=True)
class _Bpe:
    """The parsed parts of a tokenizer: texts by id, pairs in the order in which they are merged."""

    texts: dict[int, str]
    merges: list[tuple[str, str]]
    added: dict[int, bool]  # by id: whether it is special
    whole: Mapping[str, Any]

    @property
    def model(self) -> Mapping[str, Any]:
        return dict(self.whole["model"])


def read(tokenizer: Any, config: Any, ids: Mapping[str, Any], size: int, template: str | None = None) -> Metadata:
    """The metadata for a vocabulary of `size` tokens. `config` is tokenizer_config.json; `ids` is config.json, for
    special tokens that it does not name; `template` stands in a file of its own where there is one. Raises as
    `config.read` does."""
    bpe = _parsed(tokenizer, size)
    settings = config if isinstance(config, dict) else {}
    byte_level = bool(_parts(bpe.whole.get("pre_tokenizer"), "ByteLevel"))
    found = _byte_level(bpe, size) if byte_level else _sentencepiece(bpe, size)
    special = _special(bpe, settings, ids)
    found |= special
    opening = settings.get("add_bos_token")
    if not isinstance(opening, bool):
        opening = _opens(bpe.whole.get("post_processor"), bpe, special.get("tokenizer.ggml.bos_token_id"))
    found |= {
        "tokenizer.ggml.add_bos_token": opening, "tokenizer.ggml.add_eos_token": settings.get("add_eos_token") is True
    }  # fmt: skip
    chat = _template(settings, template)
    return found | ({"tokenizer.chat_template": chat} if chat else {})


def _parsed(tokenizer: Any, size: int) -> _Bpe:
    model = tokenizer.get("model") if isinstance(tokenizer, dict) else None
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict | list):
        raise _bad("it holds no vocabulary")
    if model.get("type", "BPE") != "BPE" or not isinstance(model["vocab"], dict):
        raise unfit(f"its tokenizer is of type {str(model.get('type'))[:40]!r}, and only 'BPE' is converted here")
    texts: dict[int, str] = {}
    listed = {_id(one): one for one in _list(tokenizer, "added_tokens")}
    # Tokenizers of a family are shared: what was added for larger siblings has no row in these weights.
    added = {at: one for at, one in listed.items() if at < size}
    beyond = listed.keys() - added.keys()
    known = [(text, at) for text, at in model["vocab"].items() if not (type(at) is int and at in beyond)]
    for text, number in [*known, *((str(one["content"]), at) for at, one in added.items())]:
        if type(number) is not int or not 0 <= number < size:
            raise _bad(f"its token {text[:40]!r} has the id {str(number)[:20]}, and config.json says {size:,} tokens")
        if texts.setdefault(number, text) != text:
            raise _bad(f"two tokens have the id {number}")
    return _Bpe(texts, _merges(model), {at: one.get("special") is True for at, one in added.items()}, tokenizer)


def _id(added: Any) -> int:
    if not isinstance(added, dict) or type(added.get("id")) is not int or not isinstance(added.get("content"), str):
        raise _bad("one of its added_tokens has no id or no content")
    return int(added["id"])


def _merges(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = []
    for one in _list(model, "merges"):
        pair = one.split(" ") if isinstance(one, str) else one
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise _bad(f"its merge {str(one)[:60]!r} is no pair")
        found.append((pair[0], pair[1]))
    return found


def _byte_level(bpe: _Bpe, size: int) -> Metadata:
    parts = tuple(_trait(part) for part in _sequence(bpe.whole.get("pre_tokenizer")))
    words = next((name for known, name in _WORDS.items() if known == parts), None)  # parts may hold anything
    if words is None:
        raise unfit(f"how its tokenizer cuts text into words is not known here ({', '.join(_WORDS.values())} are)")
    changes = [one.get("type") for one in _sequence(bpe.whole.get("normalizer"))]
    if bpe.whole.get("normalizer") and not (words in _COMPOSED and changes == ["NFC"]):
        raise unfit(f"its tokenizer changes text before it cuts it (normalizer), which is not known of {words!r}")
    texts, types = _tokens(bpe, size, byte_fallback=False)
    return {
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": words, "tokenizer.ggml.tokens": texts,
        "tokenizer.ggml.token_type": types, "tokenizer.ggml.merges": [f"{one} {other}" for one, other in bpe.merges],
        "tokenizer.ggml.add_space_prefix": False,
    }  # fmt: skip


def _sentencepiece(bpe: _Bpe, size: int) -> Metadata:
    if bpe.model.get("byte_fallback") is not True:
        raise unfit("its BPE neither works on bytes nor falls back to them")
    ranks: dict[str, int] = {}
    for rank, (one, other) in enumerate(bpe.merges):
        ranks.setdefault(one + other, rank)
    texts, types = _tokens(bpe, size, byte_fallback=True)
    return {
        "tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": texts, "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.scores": [float(-ranks.get(text, len(ranks))) for text in texts],
        "tokenizer.ggml.add_space_prefix": _prefixes(bpe),
    }  # fmt: skip


def _tokens(bpe: _Bpe, size: int, *, byte_fallback: bool) -> tuple[list[str], list[int]]:
    """Texts and types by id; ids that no token has are padding of the weights."""
    unknown = bpe.model.get("unk_token")

    def kind(number: int, text: str) -> int:
        if byte_fallback and len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
            return _BYTE
        if byte_fallback and text == unknown:
            return _UNKNOWN
        if number in bpe.added:
            return _CONTROL if bpe.added[number] else _USER_DEFINED
        return _NORMAL

    texts = [bpe.texts.get(number, f"[PAD{number}]") for number in range(size)]
    types = [kind(n, text) if n in bpe.texts else _UNUSED for n, text in enumerate(texts)]
    if byte_fallback:  # llama.cpp looks for these before it replaces spaces, and writes them as they stand here
        texts = [
            text.replace(_SPACE, " ") if one == _USER_DEFINED else text for text, one in zip(texts, types, strict=True)
        ]
    if len(set(texts)) < size:
        raise _bad("two of its tokens have one text")  # which ends the process that loads them
    return texts, types


def _prefixes(bpe: _Bpe) -> bool:
    """Whether a space is put before the text, as sentencepiece does. Refused where more than that is done to it."""
    normalizer = _sequence(bpe.whole.get("normalizer"))
    words = _sequence(bpe.whole.get("pre_tokenizer"))
    kinds = [str(part.get("type")) for part in normalizer]
    spaced = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE} in normalizer
    prepended = {"type": "Prepend", "prepend": _SPACE} in normalizer
    if spaced:
        words = [part for part in words if not _cuts_at_spaces(part)]  # there are none left
    if not words and spaced and set(kinds) <= {"Prepend", "Replace"} and len(kinds) == 1 + prepended:
        return prepended
    if not normalizer and [part.get("type") for part in words] == ["Metaspace"]:
        [part] = words
        if part.get("replacement") == _SPACE and part.get("split", True) in (False, None):
            scheme = part.get("prepend_scheme", "always" if part.get("add_prefix_space", True) else "never")
            return bool(scheme != "never")
    raise unfit("what its tokenizer does to text before it cuts it is not known here")


def _cuts_at_spaces(part: Mapping[str, Any]) -> bool:
    return part.get("type") == "Split" and part.get("pattern") == {"String": " "} and not part.get("invert")


def _special(bpe: _Bpe, settings: Mapping[str, Any], ids: Mapping[str, Any]) -> Metadata:
    """Ids of special tokens: by tokenizer_config.json, which a chat model changes, or else by config.json."""
    numbers = {text: number for number, text in bpe.texts.items()}
    found: Metadata = {}
    for name, key in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")):
        named = settings.get(f"{name}_token")
        text = named.get("content") if isinstance(named, dict) else named
        number = numbers.get(text) if isinstance(text, str) else None
        if number is None:
            given = ids.get(f"{name}_token_id")
            first = given[0] if isinstance(given, list) and given else given
            number = first if type(first) is int else None
        if number in bpe.texts:
            found[f"tokenizer.ggml.{key}_token_id"] = number
    return found


def _opens(processor: Any, bpe: _Bpe, bos: object) -> bool:
    """Whether the post-processor puts the opening token before a text."""
    for part in _sequence(processor):
        single = part.get("single") if part.get("type") == "TemplateProcessing" else None
        first = single[0] if isinstance(single, list) and single else None
        opening = first.get("SpecialToken") if isinstance(first, dict) else None
        if isinstance(opening, dict) and isinstance(bos, int):
            return bpe.texts.get(bos) == opening.get("id")
    return False


def _template(settings: Mapping[str, Any], file: str | None) -> str | None:
    """The chat template: of its own file, or of tokenizer_config.json; of several the default."""
    found: Any = file or settings.get("chat_template")
    if isinstance(found, list):
        found = next(
            (one.get("template") for one in found if isinstance(one, dict) and one.get("name") == "default"), None
        )
    if found is not None and (not isinstance(found, str) or len(found) > TEMPLATE_CHARS_MAX):
        raise _bad("its chat template is not a text that can be used")
    return found


def _trait(part: Mapping[str, Any]) -> tuple[str, Any]:
    """A part of a pre-tokenizer, by what of it changes the words; None for what is not known."""
    kind = str(part.get("type"))
    if kind == "Digits":
        return kind, part.get("individual_digits")
    if kind == "ByteLevel":
        return kind, None if part.get("add_prefix_space") else part.get("use_regex", True)
    if kind == "Split":
        pattern = part.get("pattern")
        plain = part.get("behavior") == "Isolated" and not part.get("invert")
        return kind, pattern.get("Regex") if plain and isinstance(pattern, dict) else None
    return kind, None


def _sequence(part: Any) -> list[Mapping[str, Any]]:
    """The parts of a step of the pipeline, which may be one, or several in sequence."""
    if not isinstance(part, dict):
        return []
    if part.get("type") != "Sequence":
        return [part]
    inner = next((part[key] for key in ("pretokenizers", "normalizers", "processors") if key in part), None)
    return [one for one in inner if isinstance(one, dict)] if isinstance(inner, list) else []


def _list(of: Mapping[str, Any], key: str) -> list[Any]:
    found = of.get(key) or []
    if not isinstance(found, list):
        raise _bad(f"its {key} are no list")
    return found


def _parts(part: Any, kind: str) -> list[Mapping[str, Any]]:
    return [one for one in _sequence(part) if one.get("type") == kind]


def _bad(why: str) -> FiredeckError:
    return InvalidArgument(f"{NAME} is not usable: {why}", field="file", hint="give it as transformers has saved it")
