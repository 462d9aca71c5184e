"""The only room that touches llama.cpp: all with Python types.

    backend     one a process: start, log, devices
    Model       a loaded GGUF file: weights, metadata, chat template
    Vocabulary  text <-> token ids (thread safe: llama.cpp only reads)
    Context     the KV memory and `decode` (one thread owns it)
    Grammar     a GBNF automaton that masks logits

llama.cpp aborts the process on several kinds of bad input (n_tokens > n_batch, a foreign seq id, accepting a token
that a grammar forbids), so each method here refuses them with a Python error first.
"""

from engine.replica.llama.backend import LoadCancelled, LoadError, gpu_available, start_backend
from engine.replica.llama.context import Context, Logits, Tokens
from engine.replica.llama.grammar import Grammar
from engine.replica.llama.model import Model
from engine.replica.llama.vocabulary import Vocabulary

__all__ = [
    "Context",
    "Grammar",
    "LoadCancelled",
    "LoadError",
    "Logits",
    "Model",
    "Tokens",
    "Vocabulary",
    "gpu_available",
    "start_backend",
]
