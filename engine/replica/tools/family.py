"""How families of chat templates spell tool calls and reasoning. A template's text shows which one it is.

Spellings as the model cards and templates of the families publish them: Hermes function calling (NousResearch),
Qwen 2.5/3, Llama 3.1+, Mistral (instruct v3 and v11), DeepSeek V3/R1, IBM Granite, Phi-4-mini, functionary v3.1,
Qwen3-Coder, Seed-OSS, GLM-4.5, Kimi K2, gpt-oss (https://cookbook.openai.com/articles/openai-harmony).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from engine.replica.tools.tagged import GLM_TAGS, QWEN_TAGS, Tags

NAME = r"(?P<name>[A-Za-z0-9_.-]{1,64})"
_OBJECT = re.compile(r"\s*(?:(?P<list>\[)\s*)?")

THINK_MARKERS = (
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<thinking>", "</thinking>"),
    ("<seed:think>", "</seed:think>"),
)
# Names by which templates read whether the model may think. Source: Qwen 3, SmolLM3, GLM; DeepSeek V3.1, Granite.
THINK_SWITCHES = ("enable_thinking", "thinking", "reasoning_effort")


@dataclass(frozen=True, slots=True)
class Spelling:
    """How one writes calls: `first`, then `before` + arguments + `after` for each with `between` them, then `last`.
    NAME stands for the function's name."""

    before: str
    after: str
    first: str = ""
    between: str = "\n"
    last: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """One way of spelling calls, to be read and to be written.

    A call is `opening`, a header, a JSON object and maybe one of `closings`. The header is all that stands before the
    object's `{`: it names the function (group `name`; then the object is the arguments), or begins a list (group
    `list`), or is space (the object then holds name and arguments). `noise` stands around calls and means nothing.
    `tags`: the arguments may also come in tags; calls are then still written as JSON, which the parser reads as well.
    `bare`: an answer may also begin with the object itself.
    """

    name: str
    opening: str
    spelling: Spelling
    header: re.Pattern[str] = _OBJECT
    closings: tuple[str, ...] = ()
    noise: tuple[str, ...] = ()
    bare: bool = False
    channels: bool = False  # the answer is a series of messages in channels
    tags: Tags | None = None  # arguments may come in tags
    think: tuple[str, str] | None = None

    @property
    def markers(self) -> tuple[str, ...]:
        """Every text whose control token, where the vocabulary has one, must show in the text that is parsed."""
        spelled = (self.spelling.first, self.spelling.before, self.spelling.after, self.spelling.last)
        harmony = ("<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|constrain|>", "<|call|>")
        extra = harmony if self.channels else ("[ARGS]", "[CALL_ID]") if self.name == "mistral" else ()
        tags = self.tags.markers if self.tags is not None else ()
        every = (self.opening, *self.closings, *self.noise, *spelled, *(self.think or ()), *extra, *tags)
        return tuple(filter(None, every))

    @property
    def end_of_call(self) -> str | None:
        """The text that ends the first call of an answer for certain, or None when its form has none."""
        return self.closings[-1] if self.closings else None


def _object_in(opening: str, closing: str, key: str = "arguments") -> Spelling:
    return Spelling(f'{opening}{{"name": "NAME", "{key}": ', "}" + closing)


HERMES = Family("hermes", "<tool_call>", _object_in("<tool_call>\n", "\n</tool_call>"), closings=("</tool_call>",))
GENERIC = Family("generic", "<tool_call>", HERMES.spelling, closings=HERMES.closings, bare=True)
LLAMA = Family("llama", "<|python_tag|>", _object_in("", "", "parameters"), bare=True)
FUNCTIONARY = Family(
    "functionary", "<function=", Spelling("<function=NAME>", "</function>"),
    header=re.compile(NAME + r">\s*"), closings=("</function>",),
)  # fmt: skip
QWEN_TAGGED = replace(HERMES, name="qwen-tags", tags=QWEN_TAGS)
SEED_TAGGED = Family(
    "seed-tags", "<seed:tool_call>", _object_in("<seed:tool_call>\n", "\n</seed:tool_call>"),
    closings=("</seed:tool_call>",), tags=QWEN_TAGS,
)  # fmt: skip
GLM_TAGGED = replace(HERMES, name="glm-tags", tags=GLM_TAGS)
KIMI = Family(
    "kimi", "<|tool_call_begin|>",
    Spelling(
        "<|tool_call_begin|>functions.NAME:0<|tool_call_argument_begin|>", "<|tool_call_end|>",
        "<|tool_calls_section_begin|>", "", "<|tool_calls_section_end|>",
    ),
    header=re.compile(rf"\s*(?:functions\.)?{NAME}(?::\d+)?\s*<\|tool_call_argument_begin\|>\s*"),
    closings=("<|tool_call_end|>",), noise=("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"),
)  # fmt: skip
_MISTRAL_HEADER = re.compile(rf"\s*(?:(?P<list>\[)|{NAME}(?:\[CALL_ID\]\w*)?(?:\[ARGS\])?)\s*")
MISTRAL_LIST = Family(
    "mistral", "[TOOL_CALLS]", Spelling('{"name": "NAME", "arguments": ', "}", "[TOOL_CALLS] [", ", ", "]"),
    header=_MISTRAL_HEADER,
)  # fmt: skip
MISTRAL_NAMED = Family(
    "mistral", "[TOOL_CALLS]", Spelling("[TOOL_CALLS]NAME[ARGS]", "", between=""), header=_MISTRAL_HEADER
)
GRANITE = Family(
    "granite", "<|tool_call|>", Spelling('{"name": "NAME", "arguments": ', "}", "<|tool_call|>[", ", ", "]"),
    closings=("<|/tool_call|>",),
)  # fmt: skip
_DEEPSEEK_HEADER = re.compile(rf"\s*(?:function<｜tool▁sep｜>)?{NAME}\s*(?:<｜tool▁sep｜>)?\s*(?:```json)?\s*")
_DEEPSEEK_CLOSINGS = ("```<｜tool▁call▁end｜>", "<｜tool▁call▁end｜>")
_DEEPSEEK_NOISE = ("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>")
DEEPSEEK_FENCED = Family(
    "deepseek", "<｜tool▁call▁begin｜>",
    Spelling(
        "<｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME\n```json\n", "\n```<｜tool▁call▁end｜>",
        _DEEPSEEK_NOISE[0], "\n", _DEEPSEEK_NOISE[1],
    ),
    header=_DEEPSEEK_HEADER, closings=_DEEPSEEK_CLOSINGS, noise=_DEEPSEEK_NOISE,
)  # fmt: skip
DEEPSEEK = Family(
    "deepseek", "<｜tool▁call▁begin｜>",
    Spelling(
        "<｜tool▁call▁begin｜>NAME<｜tool▁sep｜>", "<｜tool▁call▁end｜>", _DEEPSEEK_NOISE[0], "", _DEEPSEEK_NOISE[1]
    ),
    header=_DEEPSEEK_HEADER, closings=_DEEPSEEK_CLOSINGS, noise=_DEEPSEEK_NOISE,
)  # fmt: skip
HARMONY = Family(
    "harmony", "", Spelling("<|channel|>commentary to=functions.NAME <|constrain|>json<|message|>", "", between=""),
    channels=True,
)  # fmt: skip

FAMILIES = (
    HERMES, GENERIC, LLAMA, FUNCTIONARY, MISTRAL_LIST, MISTRAL_NAMED, GRANITE, DEEPSEEK_FENCED, DEEPSEEK, HARMONY,
    QWEN_TAGGED, SEED_TAGGED, GLM_TAGGED, KIMI,
)  # fmt: skip
# Families by what only their templates contain, the telling ones first.
_SIGNS = (
    ("<|channel|>", HARMONY),
    ("[ARGS]", MISTRAL_NAMED),
    ("[TOOL_CALLS]", MISTRAL_LIST),
    ("<seed:tool_call>", SEED_TAGGED),
    ("<parameter=", QWEN_TAGGED),
    ("<arg_key>", GLM_TAGGED),
    ("<|tool_call_argument_begin|>", KIMI),
    ("<|tool_call|>", GRANITE),
    ("<tool_call>", HERMES),
    ("<function=", FUNCTIONARY),
    ("<|python_tag|>", LLAMA),
    ("<|eom_id|>", LLAMA),
)


def detect(template: str) -> Family:
    """The family of a chat template, with its reasoning markers.

    GENERIC when the template shows none, and when it does nothing with tools: those it is then told of as text.
    """
    think = next((pair for pair in THINK_MARKERS if pair[0] in template or pair[1] in template), None)
    return replace(_calls_of(template), think=think)


def _calls_of(template: str) -> Family:
    if not mentions_tools(template) and "<|channel|>" not in template:
        return GENERIC
    if "<｜tool▁call▁begin｜>" in template:
        return DEEPSEEK_FENCED if "```json" in template else DEEPSEEK
    if "<|start_header_id|>" in template and '"parameters": dictionary' in template:
        return LLAMA  # the smaller Llamas have no marker at all
    return next((family for sign, family in _SIGNS if sign in template), GENERIC)


def mentions_tools(template: str) -> bool:
    """Whether a template does anything with the tools that it is given."""
    return re.search(r"\btools\b", template) is not None


def has_think_switch(template: str) -> bool:
    """Whether a template reads from a variable that the model shall not think."""
    return any(re.search(rf"(?<![\w.'\"]){name}\b", template) for name in THINK_SWITCHES)
