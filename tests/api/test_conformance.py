"""The table of what the official SDKs can do with an engine is that of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processes import EngineProcess

pytest.importorskip("anthropic", reason="the anthropic SDK is not there: make install")
pytestmark = [pytest.mark.model, pytest.mark.timeout(900)]  # the LLM class itself looks every nine seconds


def test_the_table_of_the_documentation_is_what_a_run_finds(engine: EngineProcess, tmp_path: Path) -> None:
    from tests import conformance

    found = conformance.run(engine, tmp_path)
    assert conformance.table_in(conformance.FILE.read_text()) == found, "run python -m tests.conformance"
