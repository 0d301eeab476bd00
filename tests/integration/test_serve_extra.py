"""An image is served by the extra `serve` alone, in a Python that holds nothing else, and ends when told to."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from importlib import metadata
from pathlib import Path

import pytest

from cradle.config import PROJECT, clean_environment
from cradle.errors import Unavailable, VerifyFailed
from cradle.manifest import read_manifest
from cradle.serve.questions import allowed_modules
from cradle.serve.server import serve

pytestmark = pytest.mark.integration
# Streamlit and the pandas that it brings are the dashboards' in the image.
FACTORY = ("airflow", "chromadb", "dbt", "dlt", "dlt_pipelines", "langchain", "pyiceberg")
FACTORY += ("sentence_transformers", "torch", "transformers")
SERVER = (
    "import sys; from pathlib import Path; from cradle.serve.server import serve; serve(Path(sys.argv[1]), port={port})"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages that holds the product and the extra `serve`, as if nothing else were installed."""
    folder = tmp_path_factory.mktemp("site")
    modules = allowed_modules() - {"cradle"}
    for distribution in metadata.distributions():
        tops = {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")}
        if {re.sub(r"\.(py|.*\.so)$", "", top) for top in tops} & modules:
            for top in tops:
                target = folder / top
                if not target.exists():
                    target.symlink_to(Path(str(distribution.locate_file(top))))
    shutil.copytree(PROJECT / "cradle", folder / "cradle", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def alone(site: Path, code: str, *arguments: str) -> list[str]:
    """Return the command that runs code where only these packages are."""
    begin = f"import sys; sys.path.insert(0, {str(site)!r}); "
    return [sys.executable, "-I", "-S", "-B", "-c", begin + code, *arguments]


def run(site: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        alone(site, code, *arguments), env=clean_environment(), capture_output=True, text=True, check=False
    )


def test_nothing_of_the_factory_is_in_the_extra() -> None:
    allowed = allowed_modules()
    assert {"cradle", "duckdb", "faiss", "fastapi", "onnxruntime", "tokenizers", "uvicorn"} <= allowed
    assert allowed.isdisjoint(FACTORY)


def test_without_the_factory_an_image_is_served_and_answers(site: Path, root: Path) -> None:
    code = """
import importlib.util
from pathlib import Path
factory = [name for name in sys.argv[2].split(",") if importlib.util.find_spec(name)]
assert not factory, factory
from cradle.serve.app import create_app
from cradle.serve.bounds import Bounds
from cradle.serve.sql import Runner
from cradle.serve.store import Store
store = Store(Path(sys.argv[1]))
create_app(Path(sys.argv[1]), store=store)
runner = Runner(store.root, store.manifest, Bounds())
print(store.rows("orders", 0, 0, {})[0], store.search("something to sit on in the office", 1, {})[1][0].sku)
print(runner.run("select count(*) as n from orders", 1)["rows"])
runner.close()
"""
    done = run(site, code, str(root), ",".join(FACTORY))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["1000 DEMO-CHA-07", "['{\"n\":1000}']"]


@pytest.mark.parametrize("module", ["dlt", "torch", "pyiceberg.catalog", "chromadb", "cradle.catalog"])
def test_the_clean_process_of_a_verification_refuses_the_factory(module: str) -> None:
    code = "from cradle.serve.questions import _Guard, allowed_modules; "
    code += f"sys.meta_path.insert(0, _Guard(allowed_modules())); import {module}"
    done = subprocess.run(
        [sys.executable, "-P", "-c", "import sys; " + code],
        cwd=PROJECT,
        env={**clean_environment(), "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "not part of the extra serve" in done.stderr


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_a_served_image_answers_and_ends_when_told(site: Path, root: Path, told: signal.Signals) -> None:
    port = free_port()
    server = subprocess.Popen(
        alone(site, SERVER.format(port=port), str(root)),
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert server.stdout is not None
        assert any("serving" in line for line in server.stdout)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=60) as answer:
            assert answer.headers["X-Cradle-Release"] == read_manifest(root).release_id
            assert json.load(answer)["status"] == "healthy"
        server.send_signal(told)
        assert server.wait(30) in (0, -told)
        assert "Traceback" not in server.stdout.read()
    finally:
        server.kill()
        server.wait(30)


def test_a_port_that_is_taken_is_named(root: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(Unavailable, match=f"port {port} .* Choose another with --port"):
            serve(root, port=port)


def test_a_folder_without_a_manifest_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(VerifyFailed, match=r"holds no manifest\.json"):
        serve(tmp_path)


@pytest.mark.parametrize("content", [b"{}", b"no json", b'{"format": 2}'])
def test_a_manifest_that_can_not_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(VerifyFailed, match=r"manifest\.json is damaged or of an unknown format"):
        read_manifest(tmp_path)
