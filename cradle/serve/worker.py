"""The process in which SQL from outside runs: bounded memory, no network, no files but the tables, killed when late.

Run by cradle.serve.sql only. One set-up from the command line, then requests and answers on standard input and output:
see cradle.serve.wire. The rows of an answer are JSON texts as DuckDB wrote them.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import queue
import resource
import sys
import threading
from pathlib import Path
from typing import IO, Any, Final

import duckdb

from cradle.serve.gate import Checked, Gate, Refused
from cradle.serve.json_rows import valid
from cradle.serve.wire import LENGTH, write

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
MB: Final = 1 << 20
FETCH: Final = 256
TOO_LARGE: Final = "the answer has more than {most} bytes. Ask for fewer columns or shorter texts."
NO_MEMORY: Final = "the statement needs more than the memory that it may use. Aggregate, filter or join less."


def confine(memory_mb: int) -> None:
    """Give up the network, files that grow, core dumps, and memory beyond a limit."""
    libc = ctypes.CDLL(None, use_errno=True)
    # Root may drop the network at once; others need a user namespace of their own, which some kernels refuse.
    if libc.unshare(CLONE_NEWNET) != 0:
        libc.unshare(CLONE_NEWUSER | CLONE_NEWNET)
    limits = {
        resource.RLIMIT_AS: memory_mb * MB,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 128,
    }
    for which, limit in limits.items():
        _, most = resource.getrlimit(which)
        limit = limit if most == resource.RLIM_INFINITY else min(limit, most)
        resource.setrlimit(which, (limit, limit))


def opened(tables: dict[str, str], memory_mb: int, threads: int) -> duckdb.DuckDBPyConnection:
    """Return a database that holds views of these files and can open nothing else, for good."""
    con = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": f"{memory_mb}MB",
            "threads": str(threads),
            "temp_directory": "",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "python_enable_replacements": "false",
        },
    )
    for name, path in tables.items():
        layer, table = name.split(".", 1)
        con.execute(f'create schema if not exists "{layer}"')
        quoted = path.replace("'", "''")
        con.execute(f"""create view "{layer}"."{table}" as select * from read_parquet('{quoted}')""")
    # The files themselves and no folder: the key index, the encoder and the manifest stay out of reach.
    con.execute("set allowed_paths = $paths", {"paths": list(tables.values())})
    con.execute("set enable_external_access = false")
    con.execute("set lock_configuration = true")
    return con


class Worker:
    """Answers requests, each on a database of its own, so that nothing of one is left for the next."""

    def __init__(self, setup: dict[str, Any]) -> None:
        self._setup: dict[str, Any] = setup
        self._root = str(Path(next(iter(setup["tables"].values()), "/")).parent.parent)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return an answer: `verdict`, and what belongs to it."""
        con = opened(self._setup["tables"], self._setup["memory_mb"], self._setup["threads"])
        checked = None
        try:
            if self._setup["gate"]:
                checked = Gate(list(self._setup["tables"]), con).check(request["sql"], request["limit"])
            else:  # to prove the other walls alone
                checked = Checked(request["sql"], [])
            return self._run(con, checked, request["limit"])
        except Refused as error:
            return {"verdict": "refused", "detail": error.detail, "refused": error.what, "allowed": error.allowed}
        except (duckdb.OutOfMemoryException, MemoryError):
            return {"verdict": "refused", "detail": NO_MEMORY, "refused": "memory", "allowed": []}
        except duckdb.Error as error:
            kind = type(error).__name__.removesuffix("Exception") or "Error"
            return {"verdict": "failed", "detail": self._plain(str(error)), "kind": kind}
        finally:
            con.close()

    def _run(self, con: duckdb.DuckDBPyConnection, checked: Checked, most: int) -> dict[str, Any]:
        described = con.execute(f"describe {checked.sql}").fetchall()
        names = _unlike([str(row[0]) for row in described])
        listed = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
        con.execute(f"select to_json(t)::varchar from ({checked.sql}) as t({listed})")
        rows, size, cut = list[str](), 0, False
        while len(rows) <= most and (found := con.fetchmany(FETCH)):
            rows += [valid(row[0]) for row in found]
            size += sum(len(row[0].encode()) for row in found)
            if size > self._setup["bytes"]:
                detail = TOO_LARGE.format(most=self._setup["bytes"])
                return {"verdict": "refused", "detail": detail, "refused": "size", "allowed": []}
        cut = len(rows) > most
        return {
            "verdict": "answered",
            "sql": checked.sql,
            "tables": checked.tables,
            "columns": [{"name": name, "type": row[1]} for name, row in zip(names, described, strict=True)],
            "rows": rows[:most],
            "truncated": cut,
        }

    def _plain(self, text: str) -> str:
        """Return a message without the paths of this machine."""
        return text.split("\n\nLINE ")[0].replace(self._root, "").strip()[:1_000]


def _unlike(names: list[str]) -> list[str]:
    """Return names of which no two are alike, whatever their case: `a`, `a_1`."""
    found, seen = list[str](), set[str]()
    for name in names:
        made, at = name, 0
        while made.lower() in seen:
            at += 1
            made = f"{name}_{at}"
        seen.add(made.lower())
        found.append(made)
    return found


def _requests(stream: IO[bytes], waiting: queue.SimpleQueue[dict[str, Any]]) -> None:
    """Take requests in; end this process with the one that asks, also in the middle of a query."""
    while True:
        head = stream.read(LENGTH.size)
        if len(head) < LENGTH.size:
            os._exit(0)
        waiting.put(json.loads(stream.read(LENGTH.unpack(head)[0])))


def main(setup: dict[str, Any]) -> None:
    """Answer requests until standard input ends."""
    confine(setup["process_mb"])
    logging.disable(logging.WARNING)  # of sqlglot, about statements that are refused anyhow
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what prints by mistake is no answer
    worker, waiting = Worker(setup), queue.SimpleQueue[dict[str, Any]]()
    threading.Thread(target=_requests, args=[sys.stdin.buffer, waiting], daemon=True).start()
    write(answers, worker.answer({"sql": "select 1", "limit": 1}))  # what is loaded at first use costs no statement
    while True:
        write(answers, worker.answer(waiting.get()))
