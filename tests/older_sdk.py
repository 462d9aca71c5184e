"""fireworks-ai 0.19, unmodified and in a virtualenv of its own: `make sdk`.

Here are its interpreter's scripts (`tests/api/llm_class*.py`) asked of an engine, and its row in the table of
`tests.conformance`, found by calling each method of its `LLM`.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path

from tests.processes import PATIENCE_S, SMOLLM2, EngineProcess, environment

PYTHON = Path(os.environ.get("FIREDECK_LLM_PYTHON", Path(__file__).parents[1] / ".venv-llm" / "bin" / "python"))
SCRIPTS = Path(__file__).parent / "api"
NOT_OFFERED = {"UNIMPLEMENTED", "NOT_FOUND"}


def packages() -> Path:
    """Where its interpreter has the package, whose descriptors the listener reads."""
    return next(PYTHON.parents[1].glob("lib/python*/site-packages"))


def ask(script: str, engine: EngineProcess, port: int, *names: str) -> dict:
    """What one of the scripts for that interpreter says of the engine, asked through the listener on `port`."""
    where = {
        "FIREWORKS_API_KEY": engine.key, "FIREWORKS_API_BASE_URL": engine.context.base_url,
        "FIREWORKS_GATEWAY_ADDR": f"127.0.0.1:{port}", "PYTHONPATH": "",
    }  # fmt: skip
    typed = [PYTHON, SCRIPTS / script, *names]
    done = subprocess.run(typed, env=environment(where), capture_output=True, text=True, timeout=6 * PATIENCE_S)
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict = json.loads(done.stdout.splitlines()[-1])
    return found


def llm_row(engine: EngineProcess) -> str:
    told = asyncio.run(_told(engine))
    assert {*told["refused"].values()} <= NOT_OFFERED, told
    passed, refused = (", ".join(f"`{name}`" for name in sorted(told[which])) for which in ("passed", "refused"))
    return f"| `fireworks-ai` {told['version']}, `LLM` | {passed} | {refused} |"


async def _told(engine: EngineProcess) -> dict:
    from engine.rpc.listener import listening

    async with listening("127.0.0.1", 0, packages(), engine.context.base_url) as port:
        return await asyncio.to_thread(ask, "llm_class_methods.py", engine, port, SMOLLM2, "conforms-llm")
