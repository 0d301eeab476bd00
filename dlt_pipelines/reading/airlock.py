"""The limited child processes in which files are parsed: no secrets, no network, bounded time, memory and output.

A file can crash its parser (a 1.4 KB XLSX aborts calamine); its child dies then, and the run goes on.
Flow: request (JSON) → child → rows.arrow, rejects.arrow, report.json in a private folder → Reading
"""

from __future__ import annotations

import json
import queue
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from cradle.config import PROJECT, Settings, clean_environment
from cradle.installation import Source
from dlt_pipelines.reading.answer import Reading, read_answer, write_answer
from dlt_pipelines.reading.child import TOO_SLOW
from dlt_pipelines.reading.parsed import Rejects

WALL_FACTOR = 3  # wall-clock seconds for each CPU second allowed: the machine may be busy


class Parsers:
    """Processes that parse files, each one file at a time; threads may share them."""

    def __init__(self, settings: Settings, count: int) -> None:
        self._settings = settings
        self._servers: list[subprocess.Popen[bytes]] = []
        self._free: queue.Queue[socket.socket] = queue.Queue()
        self._count = count

    def __enter__(self) -> Self:
        self._start(self._count)
        return self

    def __exit__(self, *_: object) -> None:
        while not self._free.empty():
            self._free.get().close()  # a waiter ends when nobody speaks to it any more
        for server in self._servers:
            server.wait()

    def read(self, path: Path, source: Source, *, source_file: str) -> Reading:
        """Parse one original in a limited child; what goes wrong there becomes a reject of scope `file`."""
        folder = Path(tempfile.mkdtemp(prefix="reading-", dir=_scratch(self._settings)))
        request = {
            "path": str(path),
            "source_file": source_file,
            "source": source.model_dump(mode="json"),
            "folder": str(folder),
            "cpu_seconds": self._settings.parse_seconds,
            "wall_seconds": self._settings.parse_seconds * WALL_FACTOR,
            "memory_mb": self._settings.parse_memory_mb,
            "output_mb": self._settings.parse_output_mb,
        }
        code = self._ask(request)
        failure = _why(code, _last_line(folder), request) if code != 0 else None
        if failure is None:
            try:
                return read_answer(folder)
            except (OSError, ValueError, KeyError, pa.ArrowException) as error:
                failure = ("parser_crashed", f"the parser's answer can't be read: {error}")
        return broken(folder, source, *failure, source_file=source_file)

    def _start(self, count: int) -> None:
        pairs = [socket.socketpair() for _ in range(count)]
        theirs = [pair[1].fileno() for pair in pairs]
        lean = {
            "ARROW_DEFAULT_MEMORY_POOL": "system",  # takes little address space, which is limited
            "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",  # else a sixth of the time goes into page faults
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONPATH": str(PROJECT),
        }
        self._servers.append(
            subprocess.Popen(
                [sys.executable, "-m", "dlt_pipelines.reading.child", *map(str, theirs)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=PROJECT,
                env={**clean_environment(), **lean},
                start_new_session=True,
                pass_fds=theirs,
            )
        )
        for ours, other in pairs:
            other.close()
            self._free.put(ours)

    def _ask(self, request: dict[str, Any]) -> int | str | None:
        """Return how the child ended; None when nobody knows: its waiter has died, and another takes its place."""
        line = self._free.get()
        with line.makefile("rwb") as stream:
            try:
                stream.write(json.dumps(request).encode() + b"\n")
                stream.flush()
                answer = stream.readline()
            except OSError:
                answer = b""
        if not answer:
            line.close()
            self._start(1)
            return None
        self._free.put(line)
        code: int | str = json.loads(answer)
        return code


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


def _last_line(folder: Path) -> str:
    try:
        text = (folder / "errors").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    return (text.strip().splitlines() or ["no message"])[-1]


def _why(code: int | str | None, last: str, request: dict[str, Any]) -> tuple[str, str]:
    if code == TOO_SLOW:
        return "too_slow", f"parsing took more than {request['wall_seconds']} s"
    if code == -signal.SIGXCPU:
        return "too_slow", f"parsing took more than {request['cpu_seconds']} s of CPU time"
    if "MemoryError" in last or "malloc" in last or "memory allocation" in last:
        return "too_large", f"parsing needs more than {request['memory_mb']} MB of memory"
    if code == -signal.SIGXFSZ or "File too large" in last:
        return "too_large", f"the file unfolds to more than {request['output_mb']} MB"
    ending = signal.Signals(-code).name if isinstance(code, int) and code < 0 else f"exit code {code}"
    return "parser_crashed", f"the parser ended with {ending}: {last[:300]}"
