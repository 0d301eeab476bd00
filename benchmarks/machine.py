"""On what a benchmark ran, as far as it decides about the figures."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from cradle.config import PROJECT

DECIDING = ("duckdb", "pyarrow", "pyiceberg", "dlt", "dbt-duckdb", "chromadb", "faiss-cpu", "torch", "onnxruntime")
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")


def machine() -> dict[str, Any]:
    """Describe processor, memory, system, versions and the load when it began."""
    said = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    lines = dict(line.split(":", 1) for line in said.splitlines() if ":" in line)
    facts = {name.strip(): value.strip() for name, value in lines.items()}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    have = facts.get("flags", "").split()
    return {
        "processor": facts.get("model name", platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "instructions": [flag for flag in FLAGS if flag in have],
        "memory_gib": round(memory / 2**30, 1),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in DECIDING},
        "load_at_start": round(os.getloadavg()[0], 2),
        "code": _commit(),
    }


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=10"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"
