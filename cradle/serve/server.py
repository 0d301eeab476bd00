"""Runs the data API of an unpacked image until it is told to stop."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import uvicorn

from cradle.errors import Unavailable
from cradle.log import get
from cradle.serve.app import create_app

log = get("serve")


def serve(root: Path, host: str = "127.0.0.1", port: int = 9392, threads: int = 2) -> None:
    """Serve until SIGINT or SIGTERM; requests under way are answered first.

    Raises:
        VerifyFailed: the folder holds no manifest.
        Unavailable: the port is taken.
    """
    app = create_app(root, threads)
    listener = listen(host, port)
    log.info("serving", address=f"http://{host}:{listener.getsockname()[1]}", root=str(root))
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=10)
    with contextlib.suppress(KeyboardInterrupt):  # raised again after the orderly end; Ctrl-C is no error here
        uvicorn.Server(config).run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """Return a socket on which connections wait.

    Raises:
        Unavailable: the port is taken.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # whoever reads the next line may connect at once
    except OSError as error:
        raise Unavailable(
            f"port {port} on {host} can't be used: {error.strerror}. Choose another with --port."
        ) from error
    return listener
