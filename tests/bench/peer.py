"""The peer of the comparison: llama.cpp's own server, built once from the very source our bindings are built from.

The sdist of llama-cpp-python carries llama.cpp whole; its `llama-server` compiled with the defaults of that build
(native instructions, OpenMP, repacked weights, llamafile kernels) has the same kernels as our replicas, so that a
difference in the table is one of serving, not of arithmetic. The binary stays in the user's cache folder:
`peer/VERSION-cpu/llama-server`, or `-cuda`.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from engine.models.fetch import cache_dir

NICE = 15  # minutes of compiling must not be felt by whoever else works on the machine
FLAGS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_SHARED_LIBS=OFF",  # one file to keep
    "-DGGML_NATIVE=ON",
    "-DGGML_OPENMP=ON",
    "-DGGML_LLAMAFILE=ON",
    "-DGGML_CPU_REPACK=ON",
    "-DLLAMA_BUILD_COMMON=ON",
    "-DLLAMA_BUILD_TOOLS=ON",
    "-DLLAMA_BUILD_SERVER=ON",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",  # it would be downloaded
    "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_CURL=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
)


class NoPeer(Exception):
    """The peer cannot be had here; says why."""


def offloads() -> bool:
    """Whether the installed llama.cpp can use a GPU. Asked in a process of its own: loading it here stays here."""
    code = "import llama_cpp, sys; sys.exit(not llama_cpp.llama_supports_gpu_offload())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def binary(*, gpu: bool = False, jobs: int | None = None) -> Path:
    """The path of `llama-server`, built first when it is not there. Raises NoPeer when it cannot be built."""
    version = importlib.metadata.version("llama-cpp-python")
    built = cache_dir() / "peer" / f"{version}-{'cuda' if gpu else 'cpu'}" / "llama-server"
    if not built.exists():
        for tool in ("cmake", "c++"):
            if not shutil.which(tool):
                raise NoPeer(f"llama-server is built from source, and {tool} is not on the path")
        print(f"building the peer, llama-server of llama-cpp-python {version}: minutes, once", file=sys.stderr)
        _build(version, built, gpu=gpu, jobs=jobs or os.cpu_count() or 1)
    return built


def _build(version: str, target: Path, *, gpu: bool, jobs: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="firedeck-peer-") as folder:
        work, log = Path(folder), target.parent / "build.log"
        with log.open("wb") as out:
            _run(_download(version, work), out, log)
            source = _unpack(work) / "vendor" / "llama.cpp"
            generator = ["-G", "Ninja"] if shutil.which("ninja") else []
            cuda = ["-DGGML_CUDA=ON"] if gpu else []
            _run(["cmake", "-S", str(source), "-B", str(work / "build"), *generator, *FLAGS, *cuda], out, log)
            _run(["cmake", "--build", str(work / "build"), "--target", "llama-server", "-j", str(jobs)], out, log)
        ready = target.with_suffix(".new")
        shutil.copy2(work / "build" / "bin" / "llama-server", ready)
        ready.replace(target)


def _download(version: str, folder: Path) -> list[str]:
    """pip asks the package for its metadata on the way, in an isolated build environment: that is most of the time."""
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-binary", ":all:", "--no-deps"]
    return [*pip, "-d", str(folder), f"llama-cpp-python=={version}"]


def _unpack(folder: Path) -> Path:
    archive = next(folder.glob("llama_cpp_python-*.tar.gz"))
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def _run(command: list[str], out: object, log: Path) -> None:
    nice = ["nice", "-n", str(NICE)] if shutil.which("nice") else []
    if subprocess.run([*nice, *command], stdout=out, stderr=out, check=False).returncode:  # type: ignore[call-overload]
        raise NoPeer(f"building llama-server failed: see {log}")


if __name__ == "__main__":
    print(binary(gpu=offloads(), jobs=int(sys.argv[1]) if len(sys.argv) > 1 else None))
