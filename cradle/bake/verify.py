"""The verb `verify`: every promise of an image, by its files and by running it. Anyone may repeat it, offline.

Flow: layout → blobs re-hashed → unpacked anew → files, tables, keys, vectors against the manifest → questions
Run:  cradle verify demo
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from cradle import releases
from cradle.bake.base import base_layout
from cradle.bake.container import ContainerReport, run_container
from cradle.bake.contents import check_blobs, check_files, check_table, check_vectors
from cradle.bake.engine import Engine, find_engine
from cradle.bake.identity import check_index
from cradle.bake.image import layout_of
from cradle.bake.origin import check_origin
from cradle.bake.promises import promises
from cradle.bake.report import report_path, write_report
from cradle.bake.unpack import images, unpack, unpack_into
from cradle.catalog import Lake, open_lake
from cradle.catalog.images import happened
from cradle.config import PROJECT, Settings, clean_environment
from cradle.errors import CradleError, MissingStep, VerifyFailed
from cradle.log import get
from cradle.manifest import Manifest, read_manifest
from cradle.outcomes import outcome
from cradle.releases import Release

log = get("verify")
CHECKS_FORMAT = 1  # raised when a check is added or finds more: images are then verified anew
NO_ENGINE = "no container engine answers here"
Test = Callable[[], str | None]  # returns what it found, or raises what is wrong


class Check(BaseModel):
    """One promise that was tested."""

    model_config = ConfigDict(frozen=True)

    name: str
    ok: bool
    detail: str
    seconds: float


class VerifyResult(BaseModel):
    """All checks of one image, and the seconds until it had answered all questions."""

    model_config = ConfigDict(frozen=True)

    customer: str
    release_id: str
    digest: str
    verified: bool
    checks: tuple[Check, ...]
    answer_seconds: float
    container: ContainerReport


def verify(
    settings: Settings,
    customer: str,
    logical_date: date | None = None,
    *,
    release_id: str | None = None,
    once: bool = False,
) -> VerifyResult:
    """Verify the image of a release: the one named, else the newest of a date, else the current one.

    Args:
        once: hash the blobs only, when the same image passed the same checks before; not with full refresh.

    Raises:
        MissingStep: the release was never baked.
        VerifyFailed: a check failed; the report names file and check.
    """
    with outcome(settings, customer, "verify", logical_date) as noted:
        lake = open_lake(settings, customer)
        release = releases.find(lake, release_id=release_id, logical_date=logical_date)
        layout = layout_of(settings, customer)
        digest = images(layout).get(f"{customer}:{release.short_id}")
        if digest is None:
            raise MissingStep(
                f"release {release.short_id} of {customer} has no image in {layout}. Run `cradle bake {customer}`."
            )
        known = _again(settings, lake, release, layout, digest) if once and not settings.full_refresh else None
        result = known or verify_image(settings, layout, digest, partial(check_origin, lake, release))
        noted.counts = {"checks": len(result.checks), "failed": sum(not check.ok for check in result.checks)}
        noted.outputs = {"digest": digest, "answer_seconds": result.answer_seconds, "known": known is not None}
        if known is None:
            write_report(settings, customer, result)
        if not result.verified:
            lines = "\n".join(f"  {check.name}: {check.detail}" for check in result.checks if not check.ok)
            raise VerifyFailed(f"image {digest} of {customer} is not what its manifest promises:\n{lines}")
        unpack(settings, customer, digest)
        if known is None:
            _record(lake, release, result)
        return result


def _record(lake: Lake, release: Release, result: VerifyResult) -> None:
    events = releases.image_events(lake, release.release_id)
    baked = next((row for row in events if row["digest"] == result.digest and row["event"] == "baked"), None)
    size, by = baked["bytes"] if baked else 0, _by(started=result.container.ran)
    releases.record_image_event(lake, release.release_id, "verified", result.digest, size, [], **by)


def _by(*, started: bool) -> dict[str, object]:
    return {"checks": CHECKS_FORMAT, "started": started}


def _again(settings: Settings, lake: Lake, release: Release, layout: Path, digest: str) -> VerifyResult | None:
    """Return the report of an image that passed all checks before, its blobs hashed anew; None: verify it.

    All other checks follow from the blobs and from what a release pins, and neither ever changes.
    """
    path = report_path(settings, release.customer, digest)
    started = happened(lake, release.release_id, "verified", digest, **_by(started=True))
    if not path.is_file() or not (
        started or happened(lake, release.release_id, "verified", digest, **_by(started=False))
    ):
        return None
    report = VerifyResult.model_validate_json(path.read_bytes())
    if not report.verified:
        return None  # it was damaged since, and may be mended
    if not started and report.container.reason == NO_ENGINE and find_engine() is not None:
        return None  # it can be started now
    checks: list[Check] = []
    _check(checks, "blobs", lambda: check_blobs(layout, digest))
    _check(checks, "index", lambda: check_index(layout))
    if not all(check.ok for check in checks):
        return None  # the whole verification says what is damaged
    checks.append(Check(name="verified before", ok=True, detail=f"{len(report.checks)} checks", seconds=0.0))
    return report.model_copy(update={"checks": tuple(checks)})


def verify_image(
    settings: Settings, layout: Path, digest: str, origin: Callable[[Path, Manifest], str] | None = None
) -> VerifyResult:
    """Check one image of a layout; a failed check is in the result, not an error.

    Args:
        origin: compares what is in the image with what it was made from, where that can be had.
    """
    checks: list[Check] = []
    with tempfile.TemporaryDirectory(dir=_scratch(settings)) as name:
        root = Path(name) / "root"
        root.mkdir()
        _check(checks, "blobs", lambda: check_blobs(layout, digest))
        if checks[-1].ok:
            _check(checks, "index", lambda: check_index(layout))
        if checks[-1].ok:
            _check(checks, "unpack", lambda: unpack_into(layout, digest, root))
        manifest = _read(checks, root) if checks[-1].ok else None
        answer_seconds = 0.0
        container = ContainerReport(ran=False, reason="an earlier check failed")
        if manifest and all(check.ok for check in checks):
            tests = _contents(layout, digest, root, manifest)
            if origin:
                tests["release"] = lambda: origin(root, manifest)
            with ThreadPoolExecutor(settings.threads) as pool:
                checks += pool.map(_checked, tests.keys(), tests.values())
            if all(check.ok for check in checks):
                answer_seconds = _ask(checks, root)
                container = _start(settings, checks, layout, digest, manifest)
    return VerifyResult(
        customer=manifest.customer if manifest else "",
        release_id=manifest.release_id if manifest else "",
        digest=digest,
        verified=all(check.ok for check in checks),
        checks=tuple(checks),
        answer_seconds=answer_seconds,
        container=container,
    )


def _contents(layout: Path, digest: str, root: Path, manifest: Manifest) -> dict[str, Test]:
    """Return name → check of what is in an image; none needs another."""
    return {
        "files": lambda: check_files(root, manifest),
        **{f"table {table}": partial(check_table, root, manifest, table) for table in manifest.tables},
        "vectors": lambda: check_vectors(root, manifest),
        **promises(layout, digest, root, manifest),
    }


def _scratch(settings: Settings) -> Path:
    folder = settings.home / "work" / "verify"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _check(checks: list[Check], name: str, test: Test) -> None:
    checks.append(_checked(name, test))


def _checked(name: str, test: Test) -> Check:
    clock = time.monotonic()
    try:
        detail, ok = test() or "as promised", True
    except CradleError as error:
        detail, ok = str(error), False
    except Exception as error:  # noqa: BLE001 - on damaged files any library may raise anything
        detail, ok = f"{type(error).__name__}: {error}", False
    return Check(name=name, ok=ok, detail=detail, seconds=round(time.monotonic() - clock, 3))


def _read(checks: list[Check], root: Path) -> Manifest | None:
    found: list[Manifest] = []
    _check(checks, "manifest", lambda: found.append(read_manifest(root)))
    return found[0] if found else None


def _ask(checks: list[Check], root: Path) -> float:
    """Serve the files in a clean process and ask the golden questions."""
    clock = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-P", str(PROJECT / "cradle" / "serve" / "questions.py"), str(root)],
        cwd=PROJECT,
        env={**clean_environment(), "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    seconds = round(time.monotonic() - clock, 3)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        checks.append(Check(name="serve", ok=False, detail=last, seconds=seconds))
        return 0.0
    report = json.loads(done.stdout.splitlines()[-1])  # log lines come before it
    checks.extend(Check(**answer, seconds=0.0) for answer in report["answers"])
    return float(report["seconds"])


def _start(settings: Settings, checks: list[Check], layout: Path, digest: str, manifest: Manifest) -> ContainerReport:
    """Start the image where an engine answers; an image without a base can't be started."""
    if manifest.base is None:
        return ContainerReport(ran=False, reason="the image has no base: run `cradle base build`, then bake again")
    engine = find_engine()
    if engine is None:
        return ContainerReport(ran=False, reason=NO_ENGINE)
    reports: list[ContainerReport] = []
    _keep_base(settings, engine, manifest.base)
    _check(checks, "container", lambda: reports.append(run_container(engine, layout, digest)))
    if not reports:
        return ContainerReport(ran=False, reason=checks[-1].detail, engine=f"{engine.tool} {engine.version}")
    for answer in reports[0].answers:
        checks.append(Check(name=f"container, {answer['name']}", ok=answer["ok"], detail=answer["detail"], seconds=0.0))
    return reports[0]


def _keep_base(settings: Settings, engine: Engine, base: str) -> None:
    """Leave the base in the engine: its layers are then unpacked once, not for every image."""
    with contextlib.suppress(MissingStep):
        layout = base_layout(settings, base)
        if layout is not None:
            engine.load(layout, base, f"localhost/cradle-base:{base.removeprefix('sha256:')[:24]}")
