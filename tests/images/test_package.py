"""What a customer gets is tried as a customer would: installed beside another's, updated by a delta."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pyrage
import pytest
import yaml

from cradle.bake.engine import Engine
from cradle.delivery.bundle import Package, package
from cradle.delivery.publish import publish
from cradle.delivery.tester import deploy_test
from cradle.errors import ConfigError
from tests.images.conftest import RIVAL, Factory, rewrite
from tests.nights import night

pytestmark = [pytest.mark.engine, pytest.mark.timeout(2400)]  # the first builds the base


def test_two_customers_packages_are_installed_side_by_side(packages: dict[str, Package]) -> None:
    report = deploy_test(packages["demo"].folder, packages[RIVAL].folder)
    assert [one.name for one in report.checks if not one.ok] == []
    assert report.passed
    seen = {one.name: one.detail for one in report.checks}
    assert "shown by their owner and by no other" in seen["isolation"]
    assert (report.customer, report.version) == ("demo", "v1.0-init")


def test_a_package_holds_what_its_guide_says(packages: dict[str, Package]) -> None:
    folder = packages["demo"].folder
    guide = (folder / "INSTALL.html").read_text(encoding="utf-8")
    for fact in (packages["demo"].fingerprint, packages["demo"].image, "9322", "9323", packages["demo"].archive):
        assert fact in guide
    service = yaml.safe_load((folder / "compose.yaml").read_text(encoding="utf-8"))["services"]["cradle"]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["ports"][0].endswith("9322:9322")
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_first_keys_are_for_the_customers_eyes_alone(factory: Factory, tmp_path: Path) -> None:
    identity = pyrage.x25519.Identity.generate()
    publish(factory.settings, "demo")
    made = package(factory.settings, "demo", recipient=str(identity.to_public()), out=tmp_path)
    text = pyrage.decrypt((made.folder / "credentials.age").read_bytes(), [identity]).decode()
    keys = [line.partition(": ")[2] for line in text.splitlines() if line.startswith(("admin: ", "reader: "))]
    assert len(keys) == 2
    for path in made.folder.iterdir():
        assert not any(key.encode() in path.read_bytes() for key in keys), path
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt((made.folder / "credentials.age").read_bytes(), [pyrage.x25519.Identity.generate()])


def test_a_package_without_a_key_to_encrypt_to_is_refused(factory: Factory, tmp_path: Path) -> None:
    publish(factory.settings, "demo")
    with pytest.raises(ConfigError, match="age-keygen"):
        package(factory.settings, "demo", out=tmp_path)
    with pytest.raises(ConfigError, match="begins with age1"):
        package(factory.settings, "demo", recipient="age1nonsense", out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_changed_package_is_not_installed(packages: dict[str, Package], tmp_path: Path) -> None:
    for name, change, check in (
        ("one", lambda folder: rewrite(folder / "compose.yaml", "read_only: true", "read_only: false"), "whole"),
        ("two", lambda folder: (folder / "extra.sh").write_text("#"), "whole"),
        ("three", lambda folder: _forge(folder), "signature"),
    ):
        folder = tmp_path / name
        shutil.copytree(packages["demo"].folder, folder, copy_function=_link)
        change(folder)
        report = deploy_test(folder)
        assert not report.passed
        assert check in report.checks[-1].name


def _link(source: str, target: str) -> str:
    if source.endswith(".tar.gz"):
        Path(target).hardlink_to(source)
    else:
        shutil.copy2(source, target)
    return target


def _forge(folder: Path) -> None:
    """Change the statement and make the sums fit again, as whoever intercepts a package could."""
    signed = json.loads((folder / "signature.json").read_bytes())
    signed["statement"] = signed["statement"][:-8] + "AAAAAAA="
    (folder / "signature.json").write_text(json.dumps(signed))
    done = subprocess.run(
        "rm SHA256SUMS && sha256sum * > sums && mv sums SHA256SUMS", shell=True, cwd=folder, check=False
    )
    assert done.returncode == 0


def test_the_installed_image_turns_itself_into_the_next_by_a_delta(
    factory: Factory, engine: Engine, packages: dict[str, Package], recipient: str, tmp_path: Path
) -> None:
    settings, first = factory.settings, packages[RIVAL]
    orders = next((settings.inbox(RIVAL) / "sales").glob("*.csv"))
    with orders.open("a", encoding="utf-8") as stream:
        stream.write("RVL-9999,CLNT-0001,2024-03-31,Laptop,1,1500.00,North\n")
    night(settings, RIVAL)
    made = publish(settings, RIVAL)
    assert (made.version, made.published) == ("v1.1", True)
    second = package(settings, RIVAL, recipient=recipient, since=first.version, out=tmp_path)
    assert second.bytes < first.bytes / 20
    layout = tmp_path / "layout"
    layout.mkdir()
    with tarfile.open(first.folder / first.archive) as tar:
        tar.extractall(layout, filter="data")
    options = ["--rm", "--network", "none", "--user", "0:0", "--volume", f"{layout}:/layout"]
    options += ["--volume", f"{second.folder}:/package:ro", "--volume", f"{first.folder}:/installed:ro"]
    name, updated = f"localhost/cradle/{RIVAL}:{first.version}", f"localhost/cradle/{RIVAL}:{made.version}"
    assert engine.call("load", "--quiet", "--input", str(first.folder / first.archive)).returncode == 0
    given = ["apply", f"/package/{second.archive}", "--layout", "/layout", "--statement"]
    wrong = engine.call("run", *options, name, *given, "/package/keys.json")
    assert wrong.returncode
    assert "signature is wrong" in wrong.stderr
    trusted = ["--trust", "/installed/signature.json"]
    done = engine.call("run", *options, name, *given, "/package/signature.json", *trusted)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["image"] == made.digest
    with tarfile.open(tmp_path / "image.tar", "w") as tar:
        tar.add(layout, arcname=".")
    loaded = engine.call("load", "--quiet", "--input", str(tmp_path / "image.tar"))
    assert updated in loaded.stdout
    report = engine.call("run", "--rm", "--network", "none", "--read-only", updated, "verify")
    assert json.loads(report.stdout)["verified"]
    for one in (name, updated):
        engine.forget(one)
