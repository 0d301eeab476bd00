"""Read-only SQL over the tables of an image: statements go to worker processes, which are killed when they are late.

Walls: the gate (cradle.serve.gate), a locked engine and a limited process (cradle.serve.worker), caps on the answer.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI, Request, Response

from cradle.config import PROJECT, clean_environment
from cradle.log import get
from cradle.manifest import Manifest
from cradle.serve import schemas, wire
from cradle.serve.audit import safe_text
from cradle.serve.bounds import Bounds
from cradle.serve.problems import BUSY_SECONDS, Refusal

log = get("sql")
START: Final = (
    "import json, sys; setup = json.loads(sys.argv[1]); sys.path[:] = setup['path']; "
    "from cradle.serve.worker import main; main(setup)"
)
START_SECONDS: Final = 120.0  # until a process has imported what it needs; a statement's time begins after it
# What DuckDB says about a statement; all other errors are the service's own.
_THEIRS: Final = """
Binder Catalog Constraint Conversion Error Expression InvalidInput InvalidType NotImplemented NotSupported
OutOfRange Parser Programming Syntax TypeMismatch
"""
OF_THE_STATEMENT: Final = frozenset(_THEIRS.split())


class Child:
    """One worker process."""

    def __init__(self, setup: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", "-c", START, json.dumps(setup)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd="/",
            env=clean_environment(),
            start_new_session=True,
        )
        try:
            wire.read(self._out, START_SECONDS)
        except (EOFError, TimeoutError):
            self.end()
            raise

    @property
    def _out(self) -> Any:
        return self._process.stdout

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Return the answer to a request.

        Raises:
            TimeoutError: there was none in time.
            EOFError: the process ended.
        """
        stdin: Any = self._process.stdin
        try:
            wire.write(stdin, request)
        except BrokenPipeError as error:
            raise EOFError from error
        return wire.read(self._out, seconds)

    def end(self) -> int:
        """Kill the process; return how it ended."""
        self._process.kill()
        code = self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        return code


class Runner:
    """Runs statements in a few processes, which are begun when they are needed and kept while they behave.

    Args:
        gate: without it the other walls stand alone; for tests of these.
    """

    def __init__(self, root: Path, manifest: Manifest, bounds: Bounds, threads: int = 2, *, gate: bool = True) -> None:
        self._bounds = bounds
        self._places = threading.BoundedSemaphore(bounds.sql_processes)
        self._idle: list[Child] = []
        self._setup = {
            "path": [str(PROJECT), *(str(Path(one).absolute()) for one in sys.path if one)],
            "tables": {name: str(root / entry.file) for name, entry in manifest.tables.items()},
            "threads": threads,
            "memory_mb": bounds.sql_memory_mb,
            "process_mb": bounds.sql_process_mb,
            "bytes": bounds.sql_bytes,
            "gate": gate,
        }

    def run(self, sql: str, limit: int) -> dict[str, Any]:
        """Return what a statement gave, or why it was refused: `verdict` and what belongs to it.

        Raises:
            Refusal: all processes are busy.
        """
        if not self._places.acquire(timeout=self._bounds.sql_wait):
            told = f"{self._bounds.sql_processes} statements are running, which is all that may. Try again later."
            raise Refusal(503, told, headers={"Retry-After": str(BUSY_SECONDS)})
        try:
            return self._run({"sql": sql, "limit": limit})
        finally:
            self._places.release()

    def _run(self, request: dict[str, Any]) -> dict[str, Any]:
        child = self._child()
        try:
            answer = child.ask(request, self._bounds.sql_seconds)
        except TimeoutError:
            child.end()
            detail = f"the statement took more than the {self._bounds.sql_seconds:g} s that are allowed."
            return {"verdict": "late", "detail": f"{detail} Filter, aggregate or join less."}
        except EOFError:
            code = child.end()
            log.warning("a process that ran a statement ended", code=code)
            detail = "the process of this statement ended; most likely it needed more memory than is allowed."
            return {"verdict": "refused", "detail": detail, "refused": "memory", "allowed": []}
        except BaseException:
            child.end()
            raise
        self._idle.append(child)
        return answer

    def _child(self) -> Child:
        while self._idle:
            with contextlib.suppress(IndexError):  # another thread was faster
                child = self._idle.pop()
                if child.alive:
                    return child
                child.end()
        try:
            return Child(self._setup)
        except (EOFError, TimeoutError, OSError) as error:
            log.error("no process for statements can be begun", problem=repr(error))
            raise Refusal(503, "no process for statements can be begun; the service's log says why.") from error

    def close(self) -> None:
        """End the processes that wait."""
        while self._idle:
            self._idle.pop().end()


def add_sql(app: FastAPI, runner: Runner, bounds: Bounds) -> None:
    """Add the route of statements."""

    @app.post(
        "/sql",
        tags=["sql"],
        summary="One read-only SQL query over the tables",
        description="DuckDB's SQL: one SELECT over the tables of `/tables`, with the functions of a list. "
        f"At most {bounds.sql_seconds:g} s, {bounds.sql_rows:,} rows and {bounds.sql_bytes:,} bytes.",
        response_model=schemas.SqlAnswer,
        responses={
            400: {"description": "Refused, or not a query that DuckDB can run: `refused` and `allowed` say why"},
            503: {"description": "Too many statements are running"},
            504: {"description": "The statement took too long"},
        },
    )
    def sql(request: Request, query: schemas.SqlQuery) -> Response:
        if query.limit > bounds.sql_rows:
            raise Refusal(422, f"limit: {query.limit} is more than the {bounds.sql_rows} that are allowed.")
        request.state.audit = {"sql": safe_text(query.sql), "verdict": "not run"}
        answer = runner.run(query.sql, query.limit)
        what = f": {answer['refused']}" if "refused" in answer else ""
        request.state.audit = {**request.state.audit, "verdict": f"{answer['verdict']}{what}"}
        return _told(request, answer)


def _told(request: Request, answer: dict[str, Any]) -> Response:
    verdict, detail = answer["verdict"], answer.get("detail", "")
    if verdict == "late":
        raise Refusal(504, detail)
    if verdict == "refused":
        raise Refusal(400, detail, {"refused": answer["refused"], "allowed": answer["allowed"]})
    if verdict == "failed":
        if answer["kind"] in OF_THE_STATEMENT:
            raise Refusal(400, detail, {"refused": answer["kind"]})
        log.error("a statement failed", kind=answer["kind"], problem=detail)
        raise Refusal(500, "the service failed at this statement; its log says why.")
    request.state.rows = len(answer["rows"])
    head = {name: answer[name] for name in ("sql", "tables", "columns", "truncated")}
    # Rows as DuckDB wrote them, so that decimals keep their digits.
    body = f'{json.dumps(head)[:-1]}, "rows": [{",".join(answer["rows"])}]}}'
    return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})
