"""The limited child process in which files are parsed: no secrets, no network, bounded time, memory and output.

A file can crash its parser (a 1.4 KB XLSX aborts calamine); the child dies then, and the run goes on.
Flow: request (JSON) → child → rows.arrow, rejects.arrow, report.json in a private folder → Reading
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa

from cradle.config import PROJECT, Settings, clean_environment
from cradle.installation import Source
from dlt_pipelines.reading.answer import Reading, read_answer, write_answer
from dlt_pipelines.reading.parsed import Rejects

WALL_FACTOR = 3  # wall-clock seconds for each CPU second allowed: the machine may be busy


def read_original(path: Path, source: Source, settings: Settings, *, source_file: str) -> Reading:
    """Parse one original in a limited child; what goes wrong there becomes a reject of scope `file`."""
    folder = Path(tempfile.mkdtemp(prefix="reading-", dir=_scratch(settings)))
    request = {
        "path": str(path),
        "source_file": source_file,
        "source": source.model_dump(mode="json"),
        "folder": str(folder),
        "cpu_seconds": settings.parse_seconds,
        "memory_mb": settings.parse_memory_mb,
        "output_mb": settings.parse_output_mb,
    }
    failure = _run(request, settings.parse_seconds * WALL_FACTOR)
    if failure is None:
        try:
            return read_answer(folder)
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            failure = ("parser_crashed", f"the parser's answer can't be read: {error}")
    return broken(folder, source, *failure, source_file=source_file)


def broken(folder: Path, source: Source, reason: str, detail: str, *, source_file: str) -> Reading:
    """Return the reading of a file that can't be used at all."""
    rejects = Rejects(source_file)
    rejects.add("file", reason, f"{detail}. Deliver the file again, mended.", value=source_file)
    write_answer(folder, source, (), rejects, [])
    return read_answer(folder)


def _scratch(settings: Settings) -> Path:
    folder = settings.home / "work" / "reading"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _run(request: dict[str, object], wall_seconds: int) -> tuple[str, str] | None:
    """Run the child; return why it failed, or None."""
    child = subprocess.Popen(
        [sys.executable, "-m", "dlt_pipelines.reading.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=PROJECT,
        env={**clean_environment(), "ARROW_DEFAULT_MEMORY_POOL": "system", "PYTHONPATH": str(PROJECT)},
        start_new_session=True,
    )
    try:
        _, errors = child.communicate(json.dumps(request).encode(), timeout=wall_seconds)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        return "too_slow", f"parsing took more than {wall_seconds} s"
    if child.returncode == 0:
        return None
    last = errors.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
    return _why(child.returncode, last[0], request)


def _why(code: int, last: str, request: dict[str, object]) -> tuple[str, str]:
    if code == -signal.SIGXCPU or (code == -signal.SIGKILL and "CPU" in last):
        return "too_slow", f"parsing took more than {request['cpu_seconds']} s of CPU time"
    if "MemoryError" in last or "malloc" in last or "memory allocation" in last:
        return "too_large", f"parsing needs more than {request['memory_mb']} MB of memory"
    if code == -signal.SIGXFSZ or "File too large" in last:
        return "too_large", f"the file unfolds to more than {request['output_mb']} MB"
    ending = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return "parser_crashed", f"the parser ended with {ending}: {last[:300]}"
