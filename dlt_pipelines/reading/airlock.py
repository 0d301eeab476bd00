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
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from cradle.config import PROJECT, Settings, clean_environment
from cradle.installation import Source

WALL_FACTOR = 3  # wall-clock seconds for each CPU second allowed: the machine may be busy


@dataclass(frozen=True)
class Reading:
    """What one original held. `rows_read = rows_accepted + rows_rejected`, header and blank lines not counted.

    Attributes:
        rows: the source's columns as text, `_sheet`, `_row_number`, `_unmapped`.
        rejects: scope, sheet, row_number, column, value, reason, message.
        notes: what a person should know, though nothing was rejected for it.
    """

    rows: pa.Table
    rejects: pa.Table
    rows_read: int
    rows_accepted: int
    rows_rejected: int
    notes: tuple[str, ...] = ()


REJECTS = pa.schema(
    [
        pa.field("scope", pa.string()),
        pa.field("sheet", pa.string()),
        pa.field("row_number", pa.int64()),
        pa.field("column", pa.string()),
        pa.field("value", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("message", pa.string()),
    ]
)


def read_original(path: Path, source: Source, settings: Settings, *, source_file: str) -> Reading:
    """Parse one original in a limited child; what goes wrong there becomes a reject of scope `file`."""
    with tempfile.TemporaryDirectory(prefix="reading-", dir=_scratch(settings)) as folder:
        request = {
            "path": str(path),
            "source_file": source_file,
            "source": source.model_dump(mode="json"),
            "folder": folder,
            "cpu_seconds": settings.parse_seconds,
            "memory_mb": settings.parse_memory_mb,
            "output_mb": settings.parse_output_mb,
        }
        failure = _run(request, settings.parse_seconds * WALL_FACTOR)
        if failure is None:
            try:
                return _answer(Path(folder))
            except (OSError, ValueError, KeyError, pa.ArrowException) as error:
                failure = ("parser_crashed", f"the parser's answer can't be read: {error}")
    return broken(*failure, source_file=source_file)


def broken(reason: str, detail: str, *, source_file: str) -> Reading:
    """Return the reading of a file that can't be used at all."""
    message = f"{source_file}: {detail}. Deliver the file again, mended."
    row = {"scope": "file", "value": source_file, "reason": reason, "message": message}
    return Reading(empty_rows(()), pa.Table.from_pylist([row], schema=REJECTS), 0, 0, 0)


def empty_rows(columns: tuple[str, ...]) -> pa.Table:
    """Return a table of raw rows with these columns and no row."""
    fields = [*(pa.field(name, pa.string()) for name in columns), *TECHNICAL]
    return pa.schema(fields).empty_table()


TECHNICAL = (
    pa.field("_sheet", pa.string()),
    pa.field("_row_number", pa.int64()),
    pa.field("_unmapped", pa.string()),
)


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


def _answer(folder: Path) -> Reading:
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    with pa.OSFile(str(folder / "rows.arrow")) as stream:
        rows = pa.ipc.open_file(stream).read_all()
    with pa.OSFile(str(folder / "rejects.arrow")) as stream:
        rejects = pa.ipc.open_file(stream).read_all()
    counts = {name: int(report[name]) for name in ("rows_read", "rows_accepted", "rows_rejected")}
    if counts["rows_read"] != counts["rows_accepted"] + counts["rows_rejected"] or counts["rows_accepted"] != len(rows):
        raise ValueError(f"{counts} and {len(rows)} rows don't add up")
    return Reading(rows, rejects, **counts, notes=tuple(report["notes"]))
