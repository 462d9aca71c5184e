"""What commands print: `Key: value` lines and tables in firectl's form, or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import click

from client import durations
from client.types import Deployment, Model, Wire

Rows = Sequence[Sequence[str]]


def as_json(items: Wire | Sequence[Wire]) -> str:
    wire: Any = items.to_wire() if isinstance(items, Wire) else [item.to_wire() for item in items]
    return json.dumps(wire, indent=2)


def table(header: Sequence[str], rows: Rows) -> str:
    """Columns as wide as their widest cell, two spaces apart."""
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def deployment_table(deployments: Sequence[Deployment]) -> str:
    header = ("NAME", "STATE", "READY", "MIN", "MAX", "BASE MODEL", "CREATE TIME")
    mark = "\nSIMULATED: no model answers here" if any(d.simulated for d in deployments) else ""
    return table(header, [_deployment_row(d) for d in deployments]) + f"\nTotal size: {len(deployments)}" + mark


def _deployment_row(d: Deployment) -> Sequence[str]:
    ready = d.replica_stats.ready_replica_count if d.replica_stats else 0
    counts = (f"{ready}/{d.desired_replica_count or 0}", str(d.min_replica_count), str(d.max_replica_count))
    return (d.id, d.state, *counts, d.base_model or "", local_time(d.create_time))


def deployment_lines(d: Deployment) -> str:
    """`Key: value` in the order of firectl's `get`; Go's way of printing durations."""
    policy = d.autoscaling_policy
    lines = [
        ("Name", d.name),
        ("Create Time", local_time(d.create_time)),
        ("Created By", d.created_by or ""),
        ("State", d.state),
        ("Cluster", "SIMULATED: no model answers here" if d.simulated else d.cluster or "local"),
        ("Region", d.region or ""),
        ("Status", f"{d.status.code} {d.status.message}".strip() if d.status else ""),
        ("Min Replica Count", str(d.min_replica_count)),
        ("Max Replica Count", str(d.max_replica_count)),
        ("Desired Replica Count", str(d.desired_replica_count)),
        ("Replica Count", str(d.replica_count)),
        ("Autoscaling Policy", ""),
        ("  Scale Up Window", _window(policy.scale_up_window if policy else None)),
        ("  Scale Down Window", _window(policy.scale_down_window if policy else None)),
        ("  Scale To Zero Window", _window(policy.scale_to_zero_window if policy else None)),
        ("Base Model", d.base_model or ""),
        *_speculation(d),
        ("Model String", d.model_string),
    ]
    return "\n".join(f"{key}: {value}".rstrip() for key, value in lines)


def _speculation(d: Deployment) -> Iterator[tuple[str, str]]:
    """What drafts; nothing where nothing was declared."""
    if d.draft_model:
        yield "Draft Model", d.draft_model
    if d.draft_token_count is not None:  # 0 says that nothing drafts
        yield "Draft Token Count", str(d.draft_token_count)
    if d.ngram_speculation_length is not None:
        yield "Ngram Speculation Length", str(d.ngram_speculation_length)


def model_table(models: Sequence[Model]) -> str:
    header = ("NAME", "PARAMETERS", "PRECISION", "SIZE", "CONTEXT", "CHAT", "LICENCE", "ON DISK")
    return table(header, [_model_row(m) for m in models]) + f"\nTotal size: {len(models)}"


def _model_row(m: Model) -> Sequence[str]:
    file, details = m.firedeck, m.base_model_details
    parameters = int(details.parameter_count) if details and details.parameter_count else 0
    size = file.size_bytes if file and file.size_bytes else 0
    return (
        m.name,
        f"{parameters / 1e6:.0f}M" if parameters else "-",
        (file.quantization if file else None) or "-",
        f"{size / 2**20:.0f} MiB" if size else "-",
        str(m.context_length or "-"),
        "yes" if m.use_hf_apply_chat_template else "no",
        (file.licence if file else None) or "-",
        "yes" if file and file.on_disk else "no",
    )


def say(text: str) -> None:
    click.echo(text)


def local_time(value: datetime | None) -> str:
    return value.astimezone().strftime("%Y-%m-%d %H:%M:%S") if value else ""


def _window(value: timedelta | None) -> str:
    return durations.to_go(value) if value is not None else ""
