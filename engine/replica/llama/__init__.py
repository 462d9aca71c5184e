"""The only room that touches llama.cpp: all with Python types.

    backend     one a process: start, log, devices
    Model       a loaded GGUF file: weights, metadata, chat template
    Vocabulary  text <-> token ids (thread safe: llama.cpp only reads)
    Batch       the tokens of one call, for the two contexts
    Context     the KV memory and `decode` (one thread owns it)
    Automaton   a position in a GBNF grammar (in the grammar child only)
    Pooling     a second context on a model: texts to vectors or relevance
    Adapter     a LoRA beside the model, and `set_adapters` for a context

llama.cpp aborts the process on several kinds of bad input (n_tokens > n_batch, a foreign seq id, accepting a token
that a grammar forbids), so each method here refuses them with a Python error first.
"""

from engine.replica.llama.adapter import Adapter, set_adapters
from engine.replica.llama.backend import (
    LoadCancelled,
    LoadError,
    accelerators,
    build,
    gpu_available,
    start_backend,
    tell_log,
)
from engine.replica.llama.batch import Tokens
from engine.replica.llama.context import Context, Logits, Shape, State
from engine.replica.llama.grammar import Automaton, load_vocabulary, mark_unfit
from engine.replica.llama.model import Model
from engine.replica.llama.pooling import Kind, Pooling, Stopped, Vectors, pooling_kind, relevance_column
from engine.replica.llama.vocabulary import Vocabulary

__all__ = [
    "Adapter",
    "Automaton",
    "Context",
    "Kind",
    "LoadCancelled",
    "LoadError",
    "Logits",
    "Model",
    "Pooling",
    "Shape",
    "State",
    "Stopped",
    "Tokens",
    "Vectors",
    "Vocabulary",
    "accelerators",
    "build",
    "gpu_available",
    "load_vocabulary",
    "mark_unfit",
    "pooling_kind",
    "relevance_column",
    "set_adapters",
    "start_backend",
    "tell_log",
]
