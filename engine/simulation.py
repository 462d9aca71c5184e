"""`firedeck serve --simulate FILE.toml`: the same control plane on a simulated fleet, in a data folder of its own."""

from __future__ import annotations

from pathlib import Path

from client.errors import FailedPrecondition
from client.names import LIBRARY_ACCOUNT
from client.types import BaseModelDetails, Model, ModelFile
from engine.files import SIMULATED, write_whole
from engine.model_files import Nominal
from engine.models.dimensions import Dimensions
from engine.placement.simulated.world import NominalModel, World
from engine.store.disk import DATABASE

HEADER = (b"x-firedeck-simulated", b"true")  # of every answer of an engine with a simulated fleet


def check_folder(data_dir: Path, *, simulate: bool) -> None:
    """A simulated fleet and a real one never share a data folder; FailedPrecondition when they would."""
    if simulate and not is_marked(data_dir) and (data_dir / DATABASE).exists():
        raise FailedPrecondition(
            f"{data_dir} holds a real fleet", field="data-dir", hint="choose another folder with --data-dir"
        )
    if not simulate and is_marked(data_dir):
        raise FailedPrecondition(
            f"{data_dir} holds a simulated fleet",
            field="data-dir",
            hint="start it with --simulate FILE.toml, or choose another folder with --data-dir",
        )


def is_marked(data_dir: Path) -> bool:
    """Whether the folder is a simulated fleet's."""
    return (data_dir / SIMULATED).exists()


def mark(data_dir: Path) -> None:
    """From now on the folder is a simulated fleet's. One that is already asks nothing of a disk that may be full."""
    if not is_marked(data_dir):
        write_whole(data_dir / SIMULATED, "The deployments of this folder are simulated.\n")


def nominal_models(world: World) -> dict[str, Nominal]:
    """The models of a simulated fleet by full name, listed in the library's account."""
    return {f"accounts/{LIBRARY_ACCOUNT}/models/{model.id}": _nominal(model) for model in world.models}


def _nominal(model: NominalModel) -> Nominal:
    listed = Model(
        name=f"accounts/{LIBRARY_ACCOUNT}/models/{model.id}",
        display_name=f"{model.id} (simulated)",
        description="A simulated model: it has dimensions, and no file.",
        context_length=model.context_length,
        public=True,
        use_hf_apply_chat_template=True,
        supports_tools=False,
        supported_precisions=list(model.precisions),
        base_model_details=BaseModelDetails(
            model_type="simulated", parameter_count=str(model.parameters) if model.parameters else None,
            moe=False if model.parameters else None,
        ),
        firedeck=ModelFile(size_bytes=model.size_bytes, quantization="simulated", architecture="simulated"),
    )  # fmt: skip
    dimensions = Dimensions(
        weights_bytes=model.size_bytes,
        kv_heads=(model.kv_heads,) * model.layers,
        key_length=model.head_size,
        value_length=model.head_size,
        embedding_length=model.embedding,
        feed_forward_length=model.feed_forward,
        vocabulary_size=model.vocabulary,
        context_length=model.context_length,
    )
    return Nominal(listed, dimensions)
