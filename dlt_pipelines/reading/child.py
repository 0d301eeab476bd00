"""The processes that parse: libraries are imported once, and each file is parsed in a limited child that is forked.

One server imports and forks as many waiters as there are sockets. A waiter takes one request after the other (one line
of JSON), forks a child for it, and answers how the child ended. Run by dlt_pipelines.reading.airlock only.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
MB = 1 << 20
TOO_SLOW = "wall"  # instead of an exit code


def confine(request: dict[str, int]) -> bool:
    """Give up network, core dumps and all CPU, memory and output beyond the limits; tell if the network is gone."""
    libc = ctypes.CDLL(None, use_errno=True)
    # Root may drop the network at once; others need a user namespace of their own, which some kernels refuse.
    cut_off = libc.unshare(CLONE_NEWNET) == 0 or libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0
    limits = {
        resource.RLIMIT_CPU: request["cpu_seconds"],
        resource.RLIMIT_AS: request["memory_mb"] * MB,
        resource.RLIMIT_FSIZE: request["output_mb"] * MB,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 64,
    }
    for which, limit in limits.items():
        # At the soft limit SIGXCPU tells why the process ended; at the hard one it would be killed without a reason.
        hard = limit + 5 if which == resource.RLIMIT_CPU else limit
        resource.setrlimit(which, (limit, hard))
    return cut_off


class _NoPandas:
    """Keeps PyArrow from importing pandas, only to see whether what it gets comes from there."""

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name, name=name)


def serve(sockets: list[int]) -> None:
    """Import what parsers need, fork a waiter for each socket, and end when all of them have ended."""
    sys.meta_path.insert(0, _NoPandas)
    import dlt_pipelines.reading.delimited
    import dlt_pipelines.reading.formats
    import dlt_pipelines.reading.spreadsheet  # noqa: F401

    os.umask(0o077)
    waiters = []
    for mine in sockets:
        waiter = os.fork()
        if waiter == 0:
            for other in sockets:
                if other != mine:
                    os.close(other)
            _wait_on(socket.socket(fileno=mine))
            os._exit(0)
        waiters.append(waiter)
    for one in sockets:
        os.close(one)
    for waiter in waiters:
        os.waitpid(waiter, 0)


def _wait_on(line: socket.socket) -> None:
    with line.makefile("rwb") as stream:
        while text := stream.readline():
            request = json.loads(text)
            child = os.fork()
            if child == 0:
                _parse(request)
            stream.write(json.dumps(_ending(child, request["wall_seconds"])).encode() + b"\n")
            stream.flush()


def _ending(child: int, wall_seconds: int) -> int | str:
    """Return a child's exit code, negative for a signal; kill it when its time is over."""
    handle = os.pidfd_open(child)
    in_time = bool(select.select([handle], [], [], wall_seconds)[0])
    os.close(handle)
    if not in_time:
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if in_time else TOO_SLOW


def _parse(request: dict[str, Any]) -> None:
    """Parse one file and end this process; what goes wrong is told in the folder's file `errors`."""
    folder, code = Path(request["folder"]), 1
    errors = os.open(folder / "errors", os.O_WRONLY | os.O_CREAT, 0o600)
    os.dup2(errors, 2)
    os.closerange(3, 256)
    try:
        cut_off = confine(request)
        from cradle.installation import Source
        from dlt_pipelines.reading.formats import parse

        source = Source.model_validate(request["source"])
        parse(Path(request["path"]), source, request["source_file"], folder, no_network=cut_off)
        code = 0
    finally:
        if code:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve([int(number) for number in sys.argv[1:]])
