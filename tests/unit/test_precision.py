"""Precisions: what each is made as, what can be prepared, what AUTO takes and why."""

from __future__ import annotations

import pytest

from client.enums import AUTO, PRECISION_LABEL, PRECISIONS
from client.errors import FailedPrecondition, InvalidArgument
from client.types import Deployment, MeasuredFile, Model, ModelFile, PrecisionReport, PreparedPrecision
from engine import precision
from engine.models.quantize import FILE_TYPES

NAME = "accounts/fireworks/models/m"


def model(*prepared: PreparedPrecision, quantization: str = "Q4_1", **changes: object) -> Model:
    ready = [one.precision for one in prepared if one.state == "READY"]
    file = ModelFile(file="/m.gguf", on_disk=True, quantization=quantization, prepared=list(prepared))
    fields = {"supported_precisions": [*precision.own(quantization), *ready], "firedeck": file, **changes}
    return Model(name=NAME, **fields)


def made(name: str, *, agreement: float = 0.99, times: float = 1.0, perplexity: float = 10.0) -> PreparedPrecision:
    """READY, and so many times as fast as its source."""

    def measured(speed: float, perplexity: float) -> MeasuredFile:
        return MeasuredFile(
            quantization="x", size_bytes=1, perplexity=perplexity, prefill_speed=100 * speed, decode_speed=10 * speed
        )

    report = PrecisionReport(
        source=measured(1, 10.0), made=measured(times, perplexity), agreement=agreement, tokens=500, threads=1,
        device="CPU",
    )  # fmt: skip
    return PreparedPrecision(precision=name, quantization=precision.ANALOGUES[name], state="READY", report=report)


def pending(name: str, state: str = "PREPARING") -> PreparedPrecision:
    return PreparedPrecision(precision=name, quantization=precision.ANALOGUES[name], state=state, stage="made")


def test_every_analogue_is_a_type_that_the_quantizer_has_and_a_precision_on_the_wire() -> None:
    assert set(precision.ANALOGUES) <= set(PRECISIONS)
    assert set(precision.ANALOGUES.values()) <= set(FILE_TYPES)
    assert [precision.own(name) for name in ("F16", "BF16", "Q8_0", "Q4_0", "IQ4_NL", "MXFP4", "Q4_1", None)] == [
        ["FP16"], ["BF16"], ["FP8"], ["FP4"], ["NF4"], ["FP4_MX_MOE"], [], []
    ]  # fmt: skip


def test_a_file_serves_its_own_precision_and_a_prepared_one_any_other() -> None:
    assert precision.variant("FP8", "Q8_0") is None
    assert precision.variant("FP8", "F16") == "FP8"
    assert [precision.variant(name, "F16") for name in (None, "PRECISION_UNSPECIFIED", "FP16")] == [None] * 3


def test_what_is_there_is_not_made_again_and_auto_is_all_that_it_chooses_from() -> None:
    there = model(made("FP8"), pending("FP4"))
    assert precision.to_prepare(there, "FP8") == []
    assert precision.to_prepare(there, "FP4") == ["FP4"]
    assert precision.to_prepare(there, AUTO) == ["FP16", "BF16", "FP4"]
    assert precision.to_prepare(model(quantization="BF16"), "BF16") == []


@pytest.mark.parametrize(
    ("asked", "of", "said"),
    [
        ("FP8", model(kind="HF_PEFT_ADDON"), "LoRA adapter"),
        ("FP8", model(state="UPLOADING"), "UPLOADING"),
        ("FP8", Model(name=NAME), "no file"),
        ("FP8_KV", model(), "nothing here is like it"),
        ("FP8_MM_V2", model(), "nothing here is like it"),
    ],
)
def test_what_cannot_be_prepared_is_refused_with_the_reason(asked: str, of: Model, said: str) -> None:
    with pytest.raises(FailedPrecondition, match=said) as refused:
        precision.to_prepare(of, asked)
    assert (refused.value.field, bool(refused.value.hint)) == ("precision", True)


@pytest.mark.parametrize("nonsense", [None, 5, "NOPE", {}, "PRECISION_UNSPECIFIED", "fp8"])
def test_what_is_no_precision_is_refused(nonsense: object) -> None:
    with pytest.raises(InvalidArgument, match="is not known"):
        precision.to_prepare(model(), nonsense)


def test_a_precision_that_is_not_prepared_is_refused_with_the_command_that_prepares_it() -> None:
    precision.check(model(made("FP8")), "FP8")
    precision.check(model(), None)
    for state, of in (("nothing", model()), ("failed", model(pending("FP8", "FAILED")))):
        with pytest.raises(FailedPrecondition) as refused:
            precision.check(of, "FP8")
        assert refused.value.hint == f"firedeck model prepare {NAME} --precision FP8", state
    with pytest.raises(FailedPrecondition, match="is being prepared in FP8") as waits:
        precision.check(model(pending("FP8")), "FP8")
    assert waits.value.hint is not None
    assert waits.value.hint.endswith("--precision FP8 --wait")
    far = model(firedeck=ModelFile(file="/m.gguf", on_disk=False))
    with pytest.raises(FailedPrecondition) as absent:
        precision.check(far, "FP8")
    assert absent.value.hint == f"firedeck model pull m, then firedeck model prepare {NAME} --precision FP8"
    with pytest.raises(FailedPrecondition) as other:
        precision.check(model(), "FP8_KV")
    assert "model prepare" not in (other.value.hint or "")


def test_auto_takes_the_fastest_that_is_true_enough_and_says_why() -> None:
    chosen, why = precision.best(
        model(made("FP4", times=3, agreement=0.75), made("FP8", times=2, agreement=0.96), made("BF16", times=1.5))
    )
    assert chosen == "FP8"
    assert why.startswith("FP8 (Q8_0) is 2.00 times as fast as the model's own file, agrees with it in 0.960")
    assert "FP4 (Q4_0) agrees in 0.750 of all places, below 0.95" in why
    assert "BF16 (BF16) is 1.50 times as fast" in why


def test_auto_stays_with_the_models_own_file_where_nothing_true_is_faster() -> None:
    for prepared in (made("FP8", times=0.9), made("FP8", times=2, agreement=0.9), made("FP8", times=2, perplexity=11)):
        chosen, why = precision.best(model(prepared))
        assert (chosen, why.startswith("the model's own file")) == (None, True), why


def test_auto_leaves_out_what_takes_no_adapters_where_there_are_any() -> None:
    of = model(made("FP8", times=3), made("BF16", times=2))
    assert precision.best(of)[0] == "FP8"
    assert precision.best(of, adapters=True)[0] == "BF16"


def test_auto_without_anything_prepared_is_refused_with_the_command() -> None:
    with pytest.raises(FailedPrecondition) as refused:
        precision.best(model(pending("FP8")))
    assert refused.value.hint == f"firedeck model prepare {NAME} --precision AUTO"


def test_a_deployment_that_asked_for_auto_says_why_until_it_asks_for_something_else() -> None:
    of = model(made("FP8", times=2))
    asked = Deployment(base_model=NAME, precision=AUTO, annotations={"mine": "1"})
    got = precision.settled(asked, of)
    assert got.precision == "FP8"
    assert got.annotations is not None
    assert (got.annotations["mine"], "2.00 times" in got.annotations[PRECISION_LABEL]) == ("1", True)
    assert precision.settled(got, of, before=got) == got
    other = precision.settled(got.model_copy(update={"precision": None}), of, before=got)
    assert (other.precision, other.annotations) == (None, {"mine": "1"})
