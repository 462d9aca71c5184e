"""The main job, whole: engine, deployment, tokens, dashboard, zero, wake, a killed replica, the end. Nothing is faked.

The dashboard is driven as a person would, by keys and dialogs; everything it shows is read off its screen.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import openai
import pytest
from textual.pilot import Pilot

from client.config import Context
from client.resources import Client
from tests.processes import PATIENCE_S, SMOLLM2, EngineProcess, environment, firedeck
from tests.tui.screen_text import screen_text
from tui.app import Deck
from tui.core.journal import Journal
from tui.screens.create import CreateDialog
from tui.sources.engine import EngineSource

pytestmark = [pytest.mark.model, pytest.mark.timeout(600)]
JOB = "accounts/local/deployments/job"


@pytest.fixture
async def deck(own_engine: EngineProcess, tmp_path: Path) -> AsyncIterator[Pilot[None]]:
    app = Deck(EngineSource(own_engine.context), journal=Journal(tmp_path / "journal.jsonl"))
    async with app.run_test(size=(160, 45)) as pilot:
        yield pilot


async def shows(pilot: Pilot[None], *texts: str) -> str:
    """Wait until the screen has all of `texts`."""
    return await sees(pilot, lambda seen: all(text in seen for text in texts), texts)


async def sees(pilot: Pilot[None], condition: Callable[[str], bool], what: object) -> str:
    seen = ""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not condition(seen := screen_text(pilot.app)):
                await pilot.pause(0.05)
    except TimeoutError:
        raise AssertionError(f"never saw {what!r} in:\n{seen}") from None
    return seen


def row(seen: str, deployment: str) -> list[str]:
    """The cells of a deployment's line in the fleet table."""
    return next((line.split() for line in seen.splitlines() if f" {deployment} " in line and "/" in line), [])


def pids(engine: EngineProcess) -> list[int]:
    return [replica.pid for replica in engine.replicas()]


def stream(context: Context, max_tokens: int, began: threading.Event | None = None) -> str:
    """The whole text; `began` is set with the first token."""
    with openai.OpenAI(base_url=f"{context.base_url}/inference/v1", api_key=context.api_key, max_retries=0) as client:
        hello = {"role": "user", "content": "Tell me about the sea."}
        chunks = client.chat.completions.create(
            model=f"{SMOLLM2}#{JOB}", messages=[hello], max_tokens=max_tokens, stream=True, temperature=0,
            extra_body={"ignore_eos": True},
        )  # fmt: skip
        text = ""
        for chunk in chunks:
            text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
            if text and began:
                began.set()
        return text


def cli(context: Context, *words: str) -> subprocess.CompletedProcess[str]:
    env = environment({"FIREWORKS_BASE_URL": context.base_url, "FIREWORKS_API_KEY": context.api_key})
    return subprocess.run(firedeck(*words), env=env, capture_output=True, text=True, timeout=PATIENCE_S)


async def window_of(context: Context, scale_to_zero: str) -> None:
    words = ("deployment", "update", "job", "--scale-to-zero-window", scale_to_zero)
    done = await asyncio.to_thread(cli, context, *words)
    assert done.returncode == 0, done.stderr


async def create_in_the_dialog(pilot: Pilot[None]) -> None:
    await pilot.press("c")
    await sees(pilot, lambda _: isinstance(pilot.app.screen, CreateDialog), "the create dialog")
    dialog = pilot.app.screen
    await shows(pilot, "choose a model")
    dialog.query_one("#base_model").value = SMOLLM2
    for field, value in {"deployment_id": "job", "max_replica_count": "1", "scale_to_zero_window": "30m"}.items():
        dialog.query_one(f"#{field}").value = value
    await shows(pilot, "--deployment-id job")
    await sees(pilot, lambda _: not dialog.query_one("#confirm").disabled, "the dry run's consent")
    await pilot.click("#confirm")


async def test_the_main_job_from_the_first_deployment_to_the_last(own_engine: EngineProcess, deck: Pilot[None]) -> None:
    context = own_engine.context

    # Create: in the dashboard, with the plan shown first.
    await create_in_the_dialog(deck)
    await sees(deck, lambda seen: "1/1" in row(seen, "job"), "a READY replica of job")

    # Serve: the official client streams, and its numbers arrive on the screen.
    assert await asyncio.to_thread(stream, context, 60)
    await deck.press("escape")
    seen = await sees(deck, lambda s: _has_numbers(row(s, "job")), "TTFT of job")
    assert "READY" in seen

    # Scale to zero by itself, and wake on the next request, which is held and served. The window is short only
    # meanwhile: nobody is to miss the replica that wakes.
    await window_of(context, "2s")
    await sees(deck, lambda s: "0/0" in row(s, "job"), "job at zero")
    await sees(deck, lambda _: own_engine.replicas() == [], "no process left")
    await window_of(context, "30m")
    assert await asyncio.to_thread(stream, context, 8)
    await sees(deck, lambda s: "1/1" in row(s, "job"), "job awake")

    # The same fleet as text and as JSON.
    once, as_json = cli(context, "--once"), cli(context, "--json")
    assert "job" in once.stdout
    assert once.returncode == as_json.returncode == 0
    assert [d["deployment"]["name"] for d in json.loads(as_json.stdout)["deployments"]] == [JOB]

    # Keep one replica up, kill it while it streams: it is replaced, the page says so, and the client sees none of it.
    assert cli(context, "deployment", "update", "job", "--min-replica-count", "1").returncode == 0
    await sees(deck, lambda s: "1/1" in row(s, "job") and "1-1" in row(s, "job"), "min 1")
    began = threading.Event()
    await sees(deck, lambda _: len(own_engine.replicas()) == 1, "the former one gone, if it was scaled down meanwhile")
    (victim,) = own_engine.replicas()
    streaming = asyncio.create_task(asyncio.to_thread(stream, context, 200, began))
    assert await asyncio.to_thread(began.wait, PATIENCE_S)
    victim.kill()
    unbroken = await streaming
    await deck.press("enter")
    await shows(deck, "ReplicaDied")
    await sees(deck, lambda s: "● ready" in s and any(str(pid) in s for pid in pids(own_engine)), "the successor")
    (successor,) = own_engine.replicas()
    assert successor.pid != victim.pid
    assert await asyncio.to_thread(stream, context, 200) == unbroken

    # Delete: the dialog names what goes; the focus is on Cancel until a person decides otherwise.
    await deck.press("D")
    await shows(deck, "firedeck deployment delete job")
    # It has just answered: the engine's dry run says so, and the button says what it would do then.
    await shows(deck, "in use", "Delete anyway", "--ignore-checks")
    await sees(deck, lambda _: deck.app.focused is not None and deck.app.focused.id == "cancel", "the focus on Cancel")
    confirm = deck.app.screen.query_one("#confirm")
    await sees(deck, lambda _: not confirm.has_class("-active"), "a button that can be pressed again")
    await deck.press("tab", "enter")
    async with Client(context) as client, asyncio.timeout(PATIENCE_S):
        while (await client.deployments.get("job")).state != "DELETED":
            await asyncio.sleep(0.1)
    await sees(deck, lambda _: own_engine.replicas() == [], "no process left")


def _has_numbers(cells: list[str]) -> bool:
    return any(cell.endswith(("ms", "s")) and cell[0].isdigit() for cell in cells)
