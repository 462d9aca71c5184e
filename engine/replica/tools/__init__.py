"""What models write around their answers: tool calls and reasoning, in the spelling of each template family.

family     how a family of chat templates spells calls and reasoning; found from the template's text
json_scan  follows one JSON value while it arrives
calls      streaming parser: text -> content and calls
reasoning  streaming splitter: text -> reasoning and the rest
harmony    the same for channels (gpt-oss), which carry both
answer     one choice's text through the right ones of these, and what has come of it
forced     the grammar of an answer that must be a call
fallback   tools for templates that know of none
Pure: no model, no I/O.
"""

from engine.replica.tools.answer import Answer, AnswerPlan, Spoken
from engine.replica.tools.family import Family, detect
from engine.replica.tools.forced import after_reasoning, either_gbnf, forced_gbnf
from engine.replica.tools.reasoning import ReasoningSplitter

__all__ = [
    "Answer", "AnswerPlan", "Family", "ReasoningSplitter", "Spoken", "after_reasoning", "detect", "either_gbnf",
    "forced_gbnf",
]  # fmt: skip
