"""Which methods of the official SDKs an engine answers, found by running them: the table in `client/docs/sdks.md`.

    python -m tests.conformance        an engine of its own is started, asked, and the table written

A method passes when its scenario's call came back typed and as it should; what no scenario calls is asked with anything
and has to be one of what is not offered. `tests/api/test_conformance.py` holds the table to a run. The row of the `LLM`
class is made by `tests.older_sdk`, where `make sdk` has fetched that class; it stays as it is where not.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import inspect
import re
import secrets
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import fireworks
import httpx
import openai
from anthropic._resource import SyncAPIResource as AnthropicResource
from fireworks._resource import AsyncAPIResource as AsyncFireworksResource
from fireworks._resource import SyncAPIResource as FireworksResource
from openai._resource import SyncAPIResource as OpenAIResource
from pydantic import BaseModel

from tests import adapter_files
from tests.awaited import Awaited
from tests.conftest import SHARED, deploy
from tests.older_sdk import PYTHON, llm_row
from tests.processes import PATIENCE_S, SMOLLM2, EngineProcess, poll
from tests.unit.test_models_gguf import build

FILE = Path(__file__).parents[1] / "client" / "docs" / "sdks.md"
BEGIN, END = "<!-- made by `python -m tests.conformance` -->", "<!-- end -->"
NOT_METHODS = {"with_raw_response", "with_streaming_response", "beta", "acreate"}  # the last is create's old name
DEPLOYMENT = f"accounts/local/deployments/{SHARED}"
HELLO = [{"role": "user", "content": "Say hello."}]


class Verdict(BaseModel):
    """An answer that has to be of this shape."""

    good: bool


class Recorded:
    """An SDK's client, or a resource of it, that notes which of its methods came back."""

    def __init__(self, of: Any, passed: set[str], path: str = "") -> None:
        self._of, self._passed, self._path = of, passed, path

    def __getattr__(self, name: str) -> Any:
        found, path = getattr(self._of, name), f"{self._path}{name}"
        if not inspect.isroutine(found):
            return Recorded(found, self._passed, f"{path}.")

        def call(*given: Any, **named: Any) -> Any:
            answer = found(*given, **named)
            self._passed.add(path)
            return answer

        return call


def methods(client: Any, resource: type, path: str = "") -> Iterator[str]:
    """`chat.completions.create`, ...: all that the SDK has."""
    for name in sorted(dir(type(client))):
        if name.startswith("_") or name in NOT_METHODS:
            continue
        found = getattr(client, name, None)
        if isinstance(found, resource):
            yield from methods(found, resource, f"{path}{name}.")
        elif path and inspect.ismethod(found):
            yield path + name


def ask_fireworks(sdk: Any, folder: Path) -> None:
    mine = f"conforms{secrets.token_hex(3)}"  # the id of what it makes: some of that stays
    asked = {"model": DEPLOYMENT, "max_tokens": 4}
    assert sdk.chat.completions.create(messages=HELLO, **asked).usage.completion_tokens
    assert [*sdk.chat.completions.create(messages=HELLO, stream=True, **asked)][-1].usage
    assert sdk.completions.create(prompt="One, two,", **asked).choices[0].text
    assert sdk.messages.create(messages=HELLO, **asked).content
    assert sdk.accounts.get().name == "accounts/local"
    assert [*sdk.accounts.list()]
    _ask_deployments(sdk, mine)
    _ask_models(sdk, folder, mine)
    _ask_precisions(sdk, f"{mine}-tiny")
    _ask_access(sdk, mine)
    shape = next(iter(sdk.deployment_shapes.list(account_id="fireworks"))).name.rpartition("/")[2]
    assert sdk.deployment_shapes.get(shape, account_id="fireworks").base_model
    version = next(iter(sdk.deployment_shape_versions.list(shape, account_id="fireworks"))).name.rpartition("/")[2]
    assert sdk.deployment_shape_versions.get(version, account_id="fireworks", deployment_shape_id=shape).snapshot
    wanted = {"parent": "accounts/local", "deployment": {"baseModel": SMOLLM2}}
    assert sdk.deployment_shape_versions.match(create_deployment_request=wanted).deployment_shape_versions
    assert sdk.deployment_shape_versions.match_for_model(SMOLLM2)


def _ask_deployments(sdk: Any, mine: str) -> None:
    sdk.deployments.create(base_model=SMOLLM2, deployment_id=mine, enable_addons=True, max_replica_count=0)
    poll(lambda: sdk.deployments.get(mine).state == "READY")
    assert mine in {(one.name or "").rpartition("/")[2] for one in sdk.deployments.list()}
    assert sdk.deployments.update(mine, base_model=SMOLLM2, description="new").description == "new"
    sdk.deployments.scale(mine, replica_count=0)
    sdk.deployments.delete(mine, ignore_checks=True)
    assert sdk.deployments.undelete(mine, body={}).name


def _ask_models(sdk: Any, folder: Path, mine: str) -> None:
    """An adapter from its upload to its end, on the deployment that was made before; which ends too."""
    base = sdk.models.get("smollm2-135m-instruct", account_id="fireworks").to_dict()
    file = adapter_files.make(folder / f"{mine}.gguf", Path(base["firedeck"]["file"]), seed=3)
    details = {"base_model": SMOLLM2, "r": 4, "target_modules": ["q_proj"]}
    made = sdk.models.create(model_id=mine, model={"kind": "HF_PEFT_ADDON", "peft_details": details})
    sizes = {file.name: str(file.stat().st_size)}
    urls = sdk.models.get_upload_endpoint(mine, filename_to_size=sizes).filename_to_signed_urls
    httpx.put(urls[file.name], content=file.read_bytes(), timeout=PATIENCE_S).raise_for_status()
    assert sdk.models.validate_upload(mine).warnings == []
    assert made.name in {one.name for one in sdk.models.list()}
    assert sdk.models.update(mine, description="new").description == "new"
    assert sdk.models.get_download_endpoint(mine).filename_to_signed_urls
    loaded = sdk.lora.load(model=made.name, deployment=f"accounts/local/deployments/{mine}").name.rpartition("/")[2]
    assert sdk.lora.get(loaded).model == made.name
    assert loaded in {(one.name or "").rpartition("/")[2] for one in sdk.lora.list()}
    assert sdk.lora.update(loaded, description="new").description == "new"
    sdk.lora.unload(loaded)
    poll(lambda: not sdk.models.get(mine).deployed_model_refs)
    sdk.models.delete(mine)
    sdk.deployments.delete(mine, hard=True, ignore_checks=True)


def _ask_precisions(sdk: Any, mine: str) -> None:
    """Of a model too small to run: that it is taken, not what becomes of it."""
    sdk.models.create(model_id=mine, model={"kind": "HF_BASE_MODEL"})
    content = build()
    sizes = {"tiny.gguf": str(len(content))}
    urls = sdk.models.get_upload_endpoint(mine, filename_to_size=sizes).filename_to_signed_urls
    httpx.put(urls["tiny.gguf"], content=content, timeout=PATIENCE_S).raise_for_status()
    sdk.models.validate_upload(mine)
    assert sdk.models.prepare(mine, precision="FP8") is not None
    sdk.models.delete(mine)


def _ask_access(sdk: Any, mine: str) -> None:
    made = sdk.users.create(role="user", user_id=mine, email=f"{mine}@example.com")
    assert sdk.users.get(mine).name == made.name
    assert made.name in {one.name for one in sdk.users.list()}
    assert sdk.users.update(mine, role="contributor").role == "contributor"
    key = sdk.api_keys.create(mine, api_key={"display_name": "k"})
    assert key.key_id in {one.key_id for one in sdk.api_keys.list(mine)}
    sdk.api_keys.delete(mine, key_id=key.key_id)
    secret = mine.upper().replace("-", "_")
    sdk.secrets.create(key_name=secret, name=secret, value="x")
    assert sdk.secrets.get(mine).value in (None, "")
    assert secret in {one.key_name for one in sdk.secrets.list()}
    sdk.secrets.update(mine, key_name=secret, value="y")
    sdk.secrets.delete(mine)


def ask_openai(sdk: Any, folder: Path) -> None:
    asked = {"model": DEPLOYMENT, "max_tokens": 4}
    assert sdk.chat.completions.create(messages=HELLO, **asked).usage.completion_tokens
    assert [*sdk.chat.completions.create(messages=HELLO, stream=True, **asked)]
    forced = {"model": DEPLOYMENT, "max_tokens": 40, "messages": HELLO, "response_format": Verdict}
    with sdk.chat.completions.stream(**forced) as stream:
        assert isinstance(stream.get_final_completion().choices[0].message.parsed, Verdict)
    assert isinstance(sdk.chat.completions.parse(**forced).choices[0].message.parsed, Verdict)
    assert sdk.completions.create(prompt="One, two,", **asked).choices[0].text
    assert sdk.embeddings.create(model=DEPLOYMENT, input="Hello").data[0].embedding
    assert DEPLOYMENT in {one.id for one in sdk.models.list()}
    assert sdk.models.retrieve(DEPLOYMENT).id == DEPLOYMENT


def ask_anthropic(sdk: Any, folder: Path) -> None:
    asked = {"model": DEPLOYMENT, "max_tokens": 4, "messages": HELLO}
    assert sdk.messages.create(**asked).content
    with sdk.messages.stream(**asked) as stream:
        assert stream.get_final_message().content
    assert isinstance(sdk.messages.parse(**asked | {"max_tokens": 40}, output_format=Verdict).parsed_output, Verdict)
    assert sdk.messages.count_tokens(model=DEPLOYMENT, messages=HELLO).input_tokens
    assert DEPLOYMENT in {one.id for one in sdk.models.list(limit=2)}
    assert sdk.models.retrieve(DEPLOYMENT).id == DEPLOYMENT


Ask = Callable[[Any, Path], None]


def run(engine: EngineProcess, folder: Path) -> str:
    """The table, from what the engine answered."""
    url, inference = engine.context.base_url, f"{engine.context.base_url}/inference"
    ours = {"api_key": engine.key, "account_id": "local", "base_url": url, "max_retries": 0}
    rows = ["| package | passes | not offered |", "|---|---|---|"]
    with asyncio.Runner() as loop, fireworks.Fireworks(**ours) as client:
        rows.append(row("fireworks-ai", client, FireworksResource, ask_fireworks, folder))
        waiting = fireworks.AsyncFireworks(**ours)
        rows.append(row("fireworks-ai", waiting, AsyncFireworksResource, ask_fireworks, folder, Awaited(waiting, loop)))
        loop.run(waiting.close())
    with openai.OpenAI(api_key=engine.key, base_url=f"{inference}/v1", max_retries=0) as of_openai:
        rows.append(row("openai", of_openai, OpenAIResource, ask_openai, folder))
    with anthropic.Anthropic(api_key=engine.key, base_url=inference, max_retries=0) as of_anthropic:
        rows.append(row("anthropic", of_anthropic, AnthropicResource, ask_anthropic, folder))
    last = llm_row(engine) if PYTHON.exists() else table_in(FILE.read_text()).splitlines()[-1]
    return "\n".join([*rows, last])


def row(package: str, client: Any, resource: type, ask: Ask, folder: Path, asked: Any = None) -> str:
    """The table's line of a client; `asked` is what takes its place in the scenarios, if anything does."""
    asked, passed = asked or client, set[str]()
    ask(Recorded(asked, passed), folder)
    every = set(methods(client, resource))
    assert passed <= every
    if package == "fireworks-ai":
        assert [path for path in sorted(every - passed) if not refused(asked, path)] == []
    name = f"`{package}` {importlib.metadata.version(package)}"
    kind = f", `{type(client).__name__}`" if asked is not client else ""
    return f"| {name}{kind} | {_told(passed, every)} | {_told(every - passed, every)} |"


def refused(client: Any, path: str) -> bool:
    """Whether the method, asked with anything, is told that there is none, or that there will be none."""
    method = client
    for name in path.split("."):
        method = getattr(method, name)
    required = [p for p in inspect.signature(method).parameters.values() if p.default is p.empty]
    named = {p.name: "x" for p in required if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    try:
        return [*method(**named)] == []
    except fireworks.APIStatusError as error:
        # A form with a file is not taken from anybody: pages could send one (`engine.access.door`).
        return error.status_code in (404, 501) or (path, error.status_code) == ("datasets.upload", 415)


def _told(some: set[str], every: set[str]) -> str:
    """By resource, as `models.*` where that is all of it; of what is not at the top alone the whole top."""
    told = []
    for top in sorted({path.split(".")[0] for path in some}):
        mine = sorted(path for path in some if path.startswith(f"{top}."))
        whole = all(path in some for path in every if path.startswith(f"{top}."))
        verbs = ", ".join(path.removeprefix(f"{top}.") for path in mine)
        told.append(f"`{top}.*`" if whole and len(mine) > 1 else f"`{top}`: {verbs}")
    return "; ".join(told)


def table_in(text: str) -> str:
    """The table as the page has it."""
    found = re.search(f"{re.escape(BEGIN)}\n(.*?)\n{re.escape(END)}", text, re.DOTALL)
    assert found is not None, f"{FILE} has no place for the table"
    return found[1]


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        engine = EngineProcess(folder / "data").start()
        try:
            asyncio.run(deploy(engine, SHARED, min_replica_count=1))
            table = run(engine, folder)
        finally:
            engine.stop()
    text = FILE.read_text()
    FILE.write_text(text.replace(table_in(text), table))


if __name__ == "__main__":
    main()
