"""What runs inside the limited child: one request from standard input, one answer into a folder.

Run by dlt_pipelines.reading.airlock only.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import sys
from pathlib import Path

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
MB = 1 << 20


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


def main() -> None:
    """Read one request, parse its file, write the answer."""
    request = json.load(sys.stdin)
    cut_off = confine(request)
    os.umask(0o077)
    from cradle.installation import Source
    from dlt_pipelines.reading.formats import parse

    source = Source.model_validate(request["source"])
    parse(Path(request["path"]), source, request["source_file"], Path(request["folder"]), no_network=cut_off)


if __name__ == "__main__":
    main()
