"""What a machine has, within what its cgroups allow: files of both versions, laid out as Linux lays them out."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from engine.placement import machine
from engine.placement.gpus import Gpu
from engine.units import GIB

MIB = 1 << 20


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def membership(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "membership"
    file.write_text(text)
    return file


def test_without_limits_the_machine_is_all_there_is(tmp_path):
    write(tmp_path / "pod", memory__max="max\n", cpu__max="max 100000\n")
    mine = membership(tmp_path, "0::/pod\n")
    assert machine.memory(tmp_path, mine).total == psutil.virtual_memory().total
    assert machine.cores(tmp_path, mine) == len(os.sched_getaffinity(0))
    assert machine.memory(tmp_path / "nowhere", tmp_path / "nothing").total == psutil.virtual_memory().total


def test_the_tightest_limit_of_version_2_holds_and_cached_files_count_as_available(tmp_path):
    write(
        tmp_path / "pod",
        memory__max=f"{800 * MIB}",
        memory__current=f"{500 * MIB}",
        memory__stat=f"inactive_file {100 * MIB}",
    )
    write(tmp_path / "pod/box", memory__max="max", cpu__max="50000 100000")
    found = machine.memory(tmp_path, membership(tmp_path, "0::/pod/box\n"))
    assert (found.total, found.available) == (800 * MIB, 400 * MIB)
    assert machine.cores(tmp_path, tmp_path / "membership") == 1


def test_limits_of_version_1_hold_and_no_limit_is_a_huge_number(tmp_path):
    write(tmp_path / "memory", memory__limit_in_bytes="9223372036854771712")
    write(
        tmp_path / "memory/box", memory__limit_in_bytes=f"{600 * MIB}", memory__usage_in_bytes=f"{100 * MIB}",
        memory__stat=f"cache 5\ntotal_inactive_file {50 * MIB}\n",
    )  # fmt: skip
    write(tmp_path / "cpu,cpuacct/box", cpu__cfs_quota_us="100000", cpu__cfs_period_us="100000")
    mine = membership(tmp_path, "4:memory:/box\n3:cpu,cpuacct:/box\n")
    found = machine.memory(tmp_path, mine)
    assert (found.total, found.available) == (600 * MIB, 550 * MIB)
    assert machine.cores(tmp_path, mine) == 1


def test_a_path_that_leads_out_of_the_cgroup_folder_is_not_followed(tmp_path):
    write(tmp_path / "outside", memory__max="1")
    (tmp_path / "cgroup").mkdir()
    assert machine.memory(tmp_path / "cgroup", membership(tmp_path, "0::/../outside\n")).total > 1


@pytest.mark.parametrize(
    ("name", "gib", "kind"),
    [
        ("NVIDIA H200", 140, "NVIDIA_H200_141GB"), ("NVIDIA A100-SXM4-40GB", 40, "NVIDIA_A100_40GB"),
        ("NVIDIA A100-SXM4-80GB", 80, "NVIDIA_A100_80GB"), ("NVIDIA H100 80GB HBM3", 80, "NVIDIA_H100_80GB"),
        ("NVIDIA L4", 22, "NVIDIA_L4_24GB"), ("NVIDIA L40S", 45, None), ("NVIDIA A10G", 22, "NVIDIA_A10G_24GB"),
        ("NVIDIA GeForce RTX 4090", 24, None),
    ],
)  # fmt: skip
def test_a_gpu_has_the_wires_name_where_it_has_one(name, gib, kind):
    assert Gpu("GPU-a", name, gib * GIB, gib * GIB).accelerator_type == kind
