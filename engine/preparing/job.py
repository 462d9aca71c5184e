"""`python -m engine.preparing.job`: one model file made in another precision and measured beside its source."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from client.errors import FailedPrecondition
from client.types import MeasuredFile, PrecisionReport
from engine.models import gguf
from engine.models.quantize import quantize
from engine.preparing import child, evaluation
from engine.replica import llama


def work(task: dict[str, Any]) -> dict[str, Any]:
    """`{"source", "target", "quantization", "threads", "gpu_layers"}` -> a PrecisionReport, as on the wire."""
    source, target = Path(task["source"]), Path(task["target"])
    threads, layers = int(task["threads"]), int(task["gpu_layers"])
    child.stage(f"made as {task['quantization']}")
    quantize(source, target, task["quantization"], threads=threads)
    llama.start_backend()
    try:
        child.stage("the source is measured")
        before = evaluation.read(source, threads=threads, gpu_layers=layers)
        child.stage("the result is measured")
        after = evaluation.read(target, threads=threads, gpu_layers=layers)
        agreement = evaluation.agreement(before, after)
    except (llama.LoadError, evaluation.NotComparable) as error:
        target.unlink(missing_ok=True)
        text = str(error).replace(f"{source.parent}/", "").replace(f"{target.parent}/", "")
        raise FailedPrecondition(text, field="precision") from None
    return PrecisionReport(
        source=_file(source, before), made=_file(target, after), agreement=agreement, tokens=len(after.choices),
        threads=threads, device=after.device,
    ).to_wire()  # fmt: skip


def _file(path: Path, reading: evaluation.Reading) -> MeasuredFile:
    return MeasuredFile(
        quantization=gguf.read(path).quantization, size_bytes=path.stat().st_size, perplexity=reading.perplexity,
        prefill_speed=reading.prefill_speed, decode_speed=reading.decode_speed,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(child.serve(work))
