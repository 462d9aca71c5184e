"""How a request wants its tokens chosen: by its own word, else the model file's, else the defaults of the wire."""

from __future__ import annotations

import random
from typing import Any

from client.errors import InvalidArgument
from engine.replica.fields import GenerationRequest
from engine.replica.llama import Model
from engine.replica.sampling import SamplingOptions

META_SAMPLING = {"temperature": "temp", "top_p": "top_p", "top_k": "top_k", "min_p": "min_p"}
SAMPLING_FIELDS = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "typical_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "mirostat_target",
    "mirostat_lr",
)


class OptionsMaker:
    """Requests to sampling options, for one model. Any thread."""

    def __init__(self, model: Model, seed: int | None) -> None:
        self._vocabulary_size = model.vocabulary.size
        # Requests without a seed: unguessable, or a repeatable series when the process was given one.
        self._seeds = random.SystemRandom() if seed is None else random.Random(seed)
        self._defaults = _model_defaults(model)

    def options(self, request: GenerationRequest, begun_with: int | None = None) -> SamplingOptions:
        """Raises InvalidArgument for a bias on what is no token of the model. `begun_with`: the seed that the request
        began with elsewhere."""
        given = {name: getattr(request, name) for name in SAMPLING_FIELDS if getattr(request, name) is not None}
        # The best of several is known by its tokens' log-probabilities, whether they are shown or not.
        scored = 0 if request.choices > (request.n or 1) else None
        given_seed = request.seed if request.seed is not None else begun_with
        seed = given_seed if given_seed is not None else self._seeds.getrandbits(63)
        return SamplingOptions(
            **{**self._defaults, **given},
            logit_bias=self._logit_bias(request.logit_bias or {}),
            seed=seed,
            top_logprobs=scored if request.top_count is None else request.top_count,
        )

    def _logit_bias(self, bias: dict[str, float]) -> dict[int, float]:
        size = self._vocabulary_size
        for token in bias:
            if not (token.isascii() and token.isdigit() and len(token) < 10 and int(token) < size):
                raise InvalidArgument(f"logit_bias: {token[:20]!r} is no token id of this model", field="logit_bias")
        return {int(token): value for token, value in bias.items()}


def _model_defaults(model: Model) -> dict[str, Any]:
    """Sampling defaults that the model file carries (general.sampling.*), within what the wire allows."""
    defaults: dict[str, Any] = {}
    for name, key in META_SAMPLING.items():
        text = model.meta(f"general.sampling.{key}")
        try:
            value = float(text) if text is not None else -1.0
        except ValueError:
            continue
        if 0 <= value <= {"temperature": 2, "top_k": 100}.get(name, 1):
            defaults[name] = int(value) if name == "top_k" else value
    return defaults
