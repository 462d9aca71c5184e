"""SmolLM2 with the control tokens and the chat template of a model that thinks and calls tools.

Only names change: tokens that the model never writes by itself become the markers, so their text must come from the
replica's own knowledge of them.
"""

from __future__ import annotations

from pathlib import Path

import gguf

MARKERS = {
    "<jupyter_code>": "<tool_call>",
    "<jupyter_output>": "</tool_call>",
    "<issue_start>": "<think>",
    "<issue_closed>": "</think>",
}
CALL_BEGIN, CALL_END, THINK_END = 13, 14, 10  # ids of the markers
TEMPLATE = (
    "{% if tools %}<|im_start|>system\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}<tool_call></tool_call>"
    "<|im_end|>\n{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n{% if enable_thinking %}<think>\n{% endif %}"
)


def write(source: Path, target: Path) -> Path:
    """A copy of the model file with those names."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, "llama")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        value = field.contents()
        if field.name == "tokenizer.ggml.tokens":
            value = [MARKERS.get(str(token), str(token)) for token in value]
        if field.name == "tokenizer.chat_template":
            value = TEMPLATE
        inner = field.types[-1] if len(field.types) > 1 else None
        writer.add_key_value(field.name, value, field.types[0], sub_type=inner)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target
