"""Precisions: what of llama.cpp's stands for each, whether a model is there in one, and which is best here. Pure.

Precisions are named as on Fireworks' accelerators; here each has an analogue among GGUF's types, which is shown beside
it wherever it shows. Whoever asks for AUTO, our own, gets the fastest on this machine whose text is close enough to
that of the model's own file, and is told why.
"""

from __future__ import annotations

from typing import Any

from client.enums import AUTO, AUTO_PRECISIONS, PRECISION_LABEL, PRECISIONS
from client.errors import FailedPrecondition, InvalidArgument
from client.names import LIBRARY_ACCOUNT
from client.types import Deployment, MeasuredFile, Model, PreparedPrecision

# NF4 spaces its 16 values by a normal distribution (QLoRA, arXiv 2305.14314); IQ4_NL has 16 unevenly spaced ones too.
ANALOGUES = {
    "FP16": "F16", "BF16": "BF16", "FP8": "Q8_0", "FP4": "Q4_0", "NF4": "IQ4_NL", "FP4_MX_MOE": "MXFP4_MOE",
}  # fmt: skip
_QUANTIZER_OF = {"MXFP4": "MXFP4_MOE"}  # the quantizer's name of a type, where a file says another
PREPARING, READY, FAILED = "PREPARING", "READY", "FAILED"
AGREEMENT_MIN = 0.95  # of all places of the test text: below that AUTO takes no precision
PERPLEXITY_MAX = 1.05  # times that of the model's own file
PROMPT_TOKENS, ANSWER_TOKENS = 512, 128  # of the request by which AUTO compares speeds
_QUANTIZED = ("FP8", "FP4", "NF4")  # beginnings of those that, as documented, take no adapters
_LIBRARY = f"accounts/{LIBRARY_ACCOUNT}/"
_UNSPECIFIED = "PRECISION_UNSPECIFIED"


def own(quantization: str | None) -> list[str]:
    """What a file of this quantization counts as."""
    kind = _QUANTIZER_OF.get(quantization or "", quantization)
    return [precision for precision, analogue in ANALOGUES.items() if analogue == kind]


def takes_adapters(precision: str | None) -> bool:
    return not (precision or "").startswith(_QUANTIZED)


def variant(precision: str | None, own_quantization: str | None) -> str | None:
    """The precision whose prepared file a deployment runs on; None: on the model's own file."""
    return None if precision in (None, _UNSPECIFIED, *own(own_quantization)) else precision


def command(model: str, precision: str) -> str:
    return f"firedeck model prepare {model} --precision {precision}"


def to_prepare(model: Model, precision: Any) -> list[str]:
    """The precisions that are to be made; none where it is there. Errors say why one cannot be."""
    if precision not in (*PRECISIONS, AUTO) or precision == _UNSPECIFIED:
        raise InvalidArgument(
            f"precision {str(precision)[:60]!r} is not known", field="precision",
            hint=f"can be prepared: {', '.join(ANALOGUES)}, or {AUTO} for {', '.join(AUTO_PRECISIONS)}",
        )  # fmt: skip
    if model.is_adapter:
        raise _cannot(model, precision, "it is a LoRA adapter", "prepare its base model")
    if model.state != READY:
        raise _cannot(model, precision, f"it is {model.state}", "upload and validate it")
    asked = AUTO_PRECISIONS if precision == AUTO else (str(precision),)
    wanted = [one for one in asked if one not in (model.supported_precisions or ())]
    if wanted and (model.firedeck is None or not model.firedeck.file):
        raise _cannot(model, precision, "it has no file", f"it has {_there(model)}")
    if unknown := [one for one in wanted if one not in ANALOGUES]:
        raise _cannot(model, unknown[0], "nothing here is like it", f"take one of {', '.join(ANALOGUES)}")
    return wanted


def check(model: Model, precision: str | None) -> None:
    """FailedPrecondition, with the command that prepares it, for a precision that the model is not there in."""
    if precision in (None, _UNSPECIFIED, *(model.supported_precisions or ())):
        return
    pending = {one.precision: one for one in _prepared(model)}.get(precision or "")
    if pending is not None and pending.state == PREPARING:
        why = f"{model.name} is being prepared in {precision} ({pending.stage or 'it waits its turn'})"
        raise FailedPrecondition(why, field="precision", hint=f"wait: {command(model.name, str(precision))} --wait")
    can = precision in ANALOGUES and model.firedeck is not None and model.firedeck.file is not None
    remedy = _making(model, str(precision)) if can else "leave precision out, or take another"
    raise FailedPrecondition(
        f"{model.name} is not prepared in {precision}: it has {_there(model)}", field="precision", hint=remedy
    )


def _making(model: Model, precision: str) -> str:
    """The commands that make a precision, of a model whose own file may not be here yet."""
    here = model.firedeck is None or model.firedeck.on_disk or not model.name.startswith(_LIBRARY)
    make = command(model.name, precision)
    return make if here else f"firedeck model pull {model.id}, then {make}"


def settled(asked: Deployment, model: Model, before: Deployment | None = None) -> Deployment:
    """A deployment that asked for AUTO with what it gets, and why as an annotation; any other as it is, without the
    annotation of an earlier choice unless its precision is `before`'s."""
    labels = asked.annotations or {}
    if asked.precision == AUTO:
        adapters = bool(asked.enable_addons or asked.enable_hot_reload_latest_addon)
        chosen, why = best(model, adapters=adapters)
        return asked.model_copy(update={"precision": chosen, "annotations": {**labels, PRECISION_LABEL: why}})
    if PRECISION_LABEL not in labels or (before is not None and before.precision == asked.precision):
        return asked
    kept = {name: text for name, text in labels.items() if name != PRECISION_LABEL}
    return asked.model_copy(update={"annotations": kept})


def best(model: Model, *, adapters: bool = False) -> tuple[str | None, str]:
    """The fastest precision here that is true enough to the model's own file, which is None, and why it is.

    Fastest by a request of PROMPT_TOKENS and ANSWER_TOKENS. FailedPrecondition where nothing was prepared.
    """
    measured = [one for one in _prepared(model) if one.state == READY and one.report is not None]
    if not measured:
        raise FailedPrecondition(
            f"{model.name} is prepared in no precision, so {AUTO} has nothing to choose from", field="precision",
            hint=command(model.name, AUTO),
        )  # fmt: skip
    faults = {one.precision: _fault(one, adapters) for one in measured}
    fit = [one for one in measured if not faults[one.precision]]
    fastest = max(fit, key=_gain, default=None)
    chosen = fastest if fastest is not None and _gain(fastest) > 1 else None
    rest = [f"{_name(one)} {faults[one.precision] or _speed(one)}" for one in measured if one is not chosen]
    passed = f"; passed over: {', '.join(rest)}" if rest else ""
    if chosen is None:
        return None, f"the model's own file: nothing that is true enough to it is faster{passed}"
    return chosen.precision, f"{_name(chosen)} {_speed(chosen)}, {_fidelity(chosen)}{passed}"


def request_s(file: MeasuredFile) -> float:
    """Seconds that a request of PROMPT_TOKENS and ANSWER_TOKENS takes alone."""
    return PROMPT_TOKENS / file.prefill_speed + ANSWER_TOKENS / file.decode_speed


def _fault(one: PreparedPrecision, adapters: bool) -> str:
    """Why AUTO may not take it, or nothing."""
    assert one.report is not None
    if adapters and not takes_adapters(one.precision):
        return "takes no adapters"
    if one.report.agreement < AGREEMENT_MIN:
        return f"agrees in {one.report.agreement:.3f} of all places, below {AGREEMENT_MIN}"
    if one.report.made.perplexity > PERPLEXITY_MAX * one.report.source.perplexity:
        return f"has {one.report.made.perplexity / one.report.source.perplexity:.2f} times the perplexity"
    return ""


def _gain(one: PreparedPrecision) -> float:
    assert one.report is not None
    return request_s(one.report.source) / request_s(one.report.made)


def _name(one: PreparedPrecision) -> str:
    return f"{one.precision} ({one.quantization})"


def _speed(one: PreparedPrecision) -> str:
    return f"is {_gain(one):.2f} times as fast as the model's own file"


def _fidelity(one: PreparedPrecision) -> str:
    assert one.report is not None
    ratio = one.report.made.perplexity / one.report.source.perplexity
    return f"agrees with it in {one.report.agreement:.3f} of all places and has {ratio:.3f} times its perplexity"


def _prepared(model: Model) -> list[PreparedPrecision]:
    return (model.firedeck.prepared if model.firedeck else None) or []


def _there(model: Model) -> str:
    return ", ".join(model.supported_precisions or ()) or "only that of its file"


def _cannot(model: Model, precision: Any, why: str, hint: str) -> FailedPrecondition:
    return FailedPrecondition(f"{model.name} cannot be prepared in {precision}: {why}", field="precision", hint=hint)
