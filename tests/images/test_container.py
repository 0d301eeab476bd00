"""The image is started as a careful customer would, keeps its walls, and says so when it is damaged."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cradle import oci
from cradle.bake.base import build_base
from cradle.bake.container import run_container
from cradle.bake.engine import HARDENED, Engine
from cradle.bake.image import layout_of
from cradle.bake.report import report_path
from cradle.bake.sbom import FILE as SBOM
from cradle.bake.tarball import write_layer
from cradle.bake.unpack import images, unpack_into
from cradle.bake.verify import VerifyResult
from cradle.errors import VerifyFailed
from cradle.manifest import read_manifest
from tests.images.conftest import Factory

pytestmark = [pytest.mark.engine, pytest.mark.timeout(2400)]  # the first builds the base
MOST = 600_000_000  # bytes of base and encoder, compressed
READY = "import json, urllib.request as u; print(u.urlopen('http://127.0.0.1:9322{path}').read().decode())"


@pytest.fixture
def copy(factory: Factory, tmp_path: Path) -> tuple[Path, str]:
    """The demo's layout, to be damaged; and its image."""
    shutil.copytree(layout_of(factory.settings, "demo"), tmp_path / "layout")
    (image,) = images(tmp_path / "layout").values()
    return tmp_path / "layout", image


@pytest.fixture
def started(engine: Engine, copy: tuple[Path, str]) -> Iterator[Any]:
    """Start an image made of the demo's files after they were changed; return the container."""
    names: list[str] = []
    containers: list[str] = []

    def start(change: Any) -> str:
        layout, image = copy
        root = layout.parent / "root"
        root.mkdir()
        unpack_into(layout, image, root)
        change(root)
        whole = oci.get_json(layout, image)
        base = [one for one in whole["layers"] if oci.DATA not in one.get("annotations", {})]
        changed = write_layer(layout, root, oci.PREFIX, "changed")
        config = oci.get_json(layout, whole["config"]["digest"])
        config["rootfs"]["diff_ids"] = [*config["rootfs"]["diff_ids"][: len(base)], changed.diff_id]
        config["history"] = config["history"][: len(base) + 1]
        digest, size = oci.put_json(layout, config)
        layer = {"mediaType": changed.media_type, "digest": changed.digest, "size": changed.size}
        made = {**whole, "config": {**whole["config"], "digest": digest, "size": size}, "layers": [*base, layer]}
        forged, _ = oci.put_json(layout, made)
        names.append(f"localhost/cradle-test:{forged[7:19]}")
        engine.load(layout, forged, names[-1])
        containers.append(engine.start(names[-1], HARDENED))
        return containers[-1]

    yield start
    for container in containers:
        engine.remove(container)
    for name in names:
        engine.forget(name)


def asked(engine: Engine, container: str, path: str) -> Any:
    done = engine.call("exec", container, "/usr/bin/python3", "-c", READY.format(path=path))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def until(engine: Engine, container: str, word: str) -> str:
    """Ask for its health until a word stands in the answer."""
    for _ in range(300):
        done = engine.ask(container, "health")
        if word in done.stdout:
            return done.stdout
    raise AssertionError(f"{word!r} never stood in it: {done.stdout}\n{engine.logs(container)}")


def test_a_night_starts_its_image_and_reports_what_it_saw(factory: Factory) -> None:
    (image,) = images(layout_of(factory.settings, "demo")).values()
    path = report_path(factory.settings, "demo", image)
    report = VerifyResult.model_validate_json(path.read_bytes())
    assert report.verified
    assert report.container.ran
    assert all(report.container.walls.values())
    assert set(report.container.seconds) == {"tables", "search", "dashboards"}
    assert report.container.memory_bytes > 0
    assert sum(one["ok"] for one in report.container.answers) == len(report.container.answers) >= 13
    page = path.with_suffix(".html").read_text(encoding="utf-8")
    assert "no capability" in page
    assert image in page


def test_base_and_encoder_are_small_and_hold_no_factory(factory: Factory) -> None:
    (image,) = images(layout_of(factory.settings, "demo")).values()
    described = oci.get_json(layout_of(factory.settings, "demo"), image)
    shared = [one for one in described["layers"] if one["mediaType"].endswith("gzip")]
    assert sum(one["size"] for one in shared) <= MOST
    names: set[str] = set()
    for one in factory.base.layout.joinpath("blobs", "sha256").iterdir():
        if one.stat().st_size > 10_000 and one.read_bytes()[:1] != b"{":
            with tarfile.open(one) as tar:
                names |= set(tar.getnames())
    packages = {name.partition("dist-packages/")[2].partition("/")[0] for name in names}
    assert {"duckdb", "faiss", "streamlit", "cradle"} <= packages
    assert not packages & {"torch", "pip", "chromadb", "pyiceberg", "airflow", "dlt", "sentence_transformers"}
    assert not {name for name in names if name.endswith(("/bin/gcc", "/bin/pip", "/bin/pip3", "/bin/cc"))}
    assert SBOM in names


def test_the_bill_of_materials_names_both_kinds_of_packages(factory: Factory, tmp_path: Path) -> None:
    (base,) = images(factory.base.layout).values()
    for layer in oci.get_json(factory.base.layout, base)["layers"]:
        with tarfile.open(oci.blob_path(factory.base.layout, layer["digest"])) as tar:
            if SBOM in tar.getnames():
                tar.extract(SBOM, tmp_path, filter="data")
    bill = json.loads((tmp_path / SBOM).read_bytes())
    urls = {one["purl"].partition("@")[0] for one in bill["components"]}
    assert {"pkg:deb/debian/libc6", "pkg:deb/debian/python3", "pkg:pypi/duckdb", "pkg:pypi/onnxruntime"} <= urls


def test_the_base_built_again_has_the_same_digest(factory: Factory) -> None:
    assert build_base(factory.settings).reused
    again = build_base(factory.settings, again=True)
    assert (again.digest, again.reused) == (factory.base.digest, False)


def test_without_its_encoder_it_answers_from_tables_and_by_words(engine: Engine, started: Any) -> None:
    container = started(lambda root: (root / "encoder" / "model.onnx").write_bytes(b"not a model"))
    until(engine, container, "model.onnx")
    health = asked(engine, container, "/health")
    assert health["status"] == "degraded"
    assert "encoder/model.onnx" in health["problem"]
    assert asked(engine, container, "/tables/marts.orders/rows?limit=1")["total"] == 1000
    found = asked(engine, container, "/search?q=keyboard")
    assert found["mode"] == "lexical"
    assert "keyboard" in found["hits"][0]["text"].lower()


def test_a_file_changed_behind_its_size_turns_readiness_off_and_is_named(engine: Engine, started: Any) -> None:
    def change(root: Path) -> None:
        path = root / "encoder" / "model.onnx"  # greater than what is read before the first answer
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)

    container = started(change)
    said = json.loads(until(engine, container, "damaged: "))
    assert not said["ready"]
    assert "encoder/model.onnx is not the file that was baked" in said["problem"]
    assert engine.ask(container, "verify").returncode == 1


def test_a_lost_file_is_named_at_the_start(engine: Engine, started: Any) -> None:
    def change(root: Path) -> None:
        part = read_manifest(root).vectors.parts[0]
        (root / part).unlink()

    container = started(change)
    assert ".faiss is missing" in until(engine, container, "is missing")


def test_an_image_that_lies_about_its_rows_is_not_verified_by_running_it(
    engine: Engine, copy: tuple[Path, str], started: Any
) -> None:
    def change(root: Path) -> None:
        path = root / "manifest.json"
        content = json.loads(path.read_bytes())
        content["tables"]["marts.orders"]["rows"] = 1001
        path.write_text(json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False))

    container = started(change)
    until(engine, container, '"ready":true')
    done = engine.ask(container, "questions")
    failed = [one["name"] for one in json.loads(done.stdout) if not one["ok"]]
    assert (done.returncode, failed) == (1, ["rows of marts.orders"])


def test_an_image_that_does_not_start_is_told_with_its_own_words(engine: Engine, copy: tuple[Path, str]) -> None:
    layout, image = copy
    whole = oci.get_json(layout, image)
    config = oci.get_json(layout, whole["config"]["digest"])
    config["config"]["Cmd"] = ["serve", "--root", "/nowhere"]
    digest, size = oci.put_json(layout, config)
    forged, _ = oci.put_json(layout, {**whole, "config": {**whole["config"], "digest": digest, "size": size}})
    with pytest.raises(VerifyFailed, match="/nowhere holds no manifest"):
        run_container(engine, layout, forged)
