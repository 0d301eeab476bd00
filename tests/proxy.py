"""A TCP proxy that can lose one answer: the request goes through, what comes back never arrives."""

from __future__ import annotations

import contextlib
import select
import socket
import threading

from tests.servers import free_port

QUIET_SECONDS = 1.0  # an answer has come to its end when nothing follows for so long


class Proxy:
    """Passes bytes between a port of its own and a target; `lose(marker)` swallows the answer to the next request
    that holds the marker, and closes the connection instead."""

    def __init__(self, target: int) -> None:
        self.target, self.port = target, free_port()
        self.marker: bytes | None = None
        self.lost = 0
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def lose(self, marker: bytes) -> None:
        """Lose the answer to the next request with these bytes."""
        self.marker = marker

    def close(self) -> None:
        """Accept no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, socket.create_connection(("127.0.0.1", self.target)) as server:
            while True:
                ready, _, _ = select.select([client, server], [], [])
                for one in ready:
                    data = one.recv(1 << 16)
                    if not data:
                        return
                    other = server if one is client else client
                    other.sendall(data)
                    if one is client and self.marker is not None and self.marker in data:
                        self.marker = None
                        self._swallow(server)
                        self.lost += 1
                        return

    def _swallow(self, server: socket.socket) -> None:
        seen = False
        while True:
            ready, _, _ = select.select([server], [], [], QUIET_SECONDS if seen else 30)
            if not ready or not server.recv(1 << 16):
                return
            seen = True
