"""A push sends what the registry lacks and nothing else, counted in bytes on the wire."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import socketserver
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from cradle import oci
from cradle.bake.assemble import append_layers
from cradle.bake.engine import Engine
from cradle.bake.tarball import write_layer
from cradle.config import Settings
from cradle.delivery.registry import push
from cradle.errors import ConfigError, Unavailable
from tests.conftest import NO_REGISTRY

pytestmark = pytest.mark.engine
MB = 1_000_000


class Counter(socketserver.ThreadingTCPServer):
    """Passes connections on to a registry and counts the bytes that go to it."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, target: int) -> None:
        self.target, self.sent = target, 0
        super().__init__(("127.0.0.1", 0), Pipe)


class Pipe(socketserver.BaseRequestHandler):
    """One connection."""

    def handle(self) -> None:
        """Copy both ways until one side closes."""
        assert isinstance(self.server, Counter)
        with socket.create_connection(("127.0.0.1", self.server.target)) as other:
            back = threading.Thread(target=self.copy, args=(other, self.request, False), daemon=True)
            back.start()
            self.copy(self.request, other, True)
            other.shutdown(socket.SHUT_WR)
            back.join()

    def copy(self, one: socket.socket, two: socket.socket, counted: bool) -> None:
        """Copy one direction."""
        assert isinstance(self.server, Counter)
        while data := one.recv(1 << 16):
            if counted:
                self.server.sent += len(data)
            two.sendall(data)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def registry(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counter]:
    """A registry on this machine, behind something that counts; it comes with the engine of the tests."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip(NO_REGISTRY)
    folder, port = tmp_path_factory.mktemp("registry"), free_port()
    config = {"version": 0.1, "storage": {"filesystem": {"rootdirectory": str(folder / "data")}}}
    config |= {"http": {"addr": f"127.0.0.1:{port}"}, "log": {"accesslog": {"disabled": True}}}
    (folder / "config.yml").write_text(json.dumps(config))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", str(folder / "config.yml")], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline
        with Counter(port) as counter:
            threading.Thread(target=counter.serve_forever, daemon=True).start()
            yield counter
            counter.shutdown()
    finally:
        os.kill(process.pid, signal.SIGTERM)
        process.wait()


def image_with(layout: Path, folder: Path, contents: dict[str, bytes]) -> str:
    """Put an image into a layout, one layer per name."""
    layers = []
    for name, data in contents.items():
        tree = folder / name
        tree.mkdir(parents=True, exist_ok=True)
        (tree / "data").write_bytes(data)
        layers.append(write_layer(layout, tree, "cradle", name))
    image, _ = append_layers(layout, None, layers, created="2024-04-01T00:00:00Z", labels={}, config={})
    return image


def test_only_what_is_missing_is_sent(registry: Counter, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    settings = Settings(home=tmp_path / "home", registry=f"127.0.0.1:{registry.server_address[1]}/factory")
    large = os.urandom(8 * MB)
    one = image_with(layout, tmp_path / "one", {"large": large, "small": b"1"})
    first = push(settings, layout, one, "demo", ("one", "v1.0-init"))
    assert first.blobs == 3
    sent = registry.sent
    assert first.bytes <= sent < first.bytes + 100_000
    again = push(settings, layout, one, "demo", ("one", "v1.0-init"))
    assert (again.blobs, again.bytes) == (0, 0)
    assert registry.sent - sent < 20_000
    sent = registry.sent
    two = image_with(layout, tmp_path / "two", {"large": large, "small": b"2"})
    second = push(settings, layout, two, "demo", ("two",))
    assert second.blobs == 2  # the small layer and the configuration
    assert registry.sent - sent < 100_000
    accept = {"Accept": oci.MANIFEST_TYPE}
    for tag, image in (("one", one), ("v1.0-init", one), ("two", two)):
        url = f"http://127.0.0.1:{registry.target}/v2/factory/demo/manifests/{tag}"
        with urllib.request.urlopen(urllib.request.Request(url, headers=accept), timeout=10) as answer:
            assert answer.headers["Docker-Content-Digest"] == image
    assert second.reference.endswith(f"/factory/demo@{two}")


def test_a_registry_that_does_not_answer_is_told(tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    image = image_with(layout, tmp_path / "one", {"small": b"1"})
    nobody = Settings(home=tmp_path / "home", registry=f"127.0.0.1:{free_port()}")
    with pytest.raises(Unavailable, match="CRADLE_REGISTRY"):
        push(nobody, layout, image, "demo", ("one",))
    with pytest.raises(ConfigError, match="CRADLE_REGISTRY"):
        push(Settings(home=tmp_path / "home"), layout, image, "demo", ("one",))
