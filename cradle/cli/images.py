"""Commands about images: the base, what is in an image, publishing, packages, and what was released before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cradle import names
from cradle.cli.output import AsJson, CustomerName, Date, emit, size, table
from cradle.cli.verbs import Release, optional_day, ready
from cradle.errors import VerifyFailed

PANEL = "Images and delivery"
base = typer.Typer(help="The base that all images stand on.", no_args_is_help=True)
past = typer.Typer(help="What was released: list, compare, go back, bake again.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(base, name="base", rich_help_panel=PANEL)
    app.add_typer(past, name="releases", rich_help_panel=PANEL)
    for command in (publish, package, inspect):
        app.command(rich_help_panel=PANEL)(command)
    app.command("deploy-test", rich_help_panel=PANEL)(deploy_test)


@base.command("build")
def build(
    rootfs: Annotated[
        Path | None, typer.Option(help="Root file system that docker/base/Containerfile made.", exists=True)
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Also when this state of the code has its base.")] = False,
    as_json: AsJson = False,
) -> None:
    """Build the base image of this state of the code, once. Example: cradle base build"""
    from cradle.bake.base import build_base

    made = build_base(ready(), rootfs, again=again)
    facts = [("base", made.digest), ("size", size(made.bytes)), ("seconds", made.seconds), ("layout", made.layout)]
    title = "base: as it was" if made.reused else "base: built"
    emit(made.model_dump(mode="json"), as_json, title, facts)


def publish(
    customer: CustomerName,
    when: Date = None,
    release_id: Release = None,
    unstarted: Annotated[
        bool, typer.Option("--unstarted", help="Also an image that no engine was there to start.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put a verified image into the write-once archive, and into a registry. Example: cradle publish demo"""
    from cradle.delivery.publish import publish as verb

    found = ready()
    day = optional_day(found, customer, when)
    made = verb(found, customer, day, release_id=release_id, unstarted=unstarted)
    facts = [("version", made.version), ("image", made.digest), ("publisher", made.fingerprint)]
    facts += [("archived", f"{made.blobs} blobs, {size(made.bytes)}")]
    if made.pushed:
        facts += [
            ("registry", made.pushed.reference),
            ("sent", f"{made.pushed.blobs} blobs, {size(made.pushed.bytes)}"),
        ]
    title = f"{customer}: {'published' if made.published else 'was published before as'} {made.version}"
    emit(made.model_dump(mode="json"), as_json, title, facts)


def package(
    customer: CustomerName,
    version: Annotated[str | None, typer.Option(help="Version or release id; none: the newest.")] = None,
    since: Annotated[str | None, typer.Option(help="Version the customer has: send the delta from it.")] = None,
    recipient: Annotated[str | None, typer.Option(help="The customer's age public key, age1….")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder that will hold the package.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make the delivery package of a published version. Example: cradle package demo --recipient age1…"""
    from cradle.delivery.bundle import package as make

    made = make(ready(), customer, version=version, since=since, out=out, recipient=recipient)
    facts = [("package", made.folder), ("image", made.archive), ("size", size(made.bytes))]
    facts += [("ports", f"{made.ports['api']} API, {made.ports['dashboards']} dashboards")]
    facts += [("publisher", made.fingerprint), ("next", f"cradle deploy-test {made.folder}")]
    what = f"{made.version}, from {made.delta_from}" if made.delta_from else made.version
    emit(made.model_dump(mode="json"), as_json, f"{customer}: package of {what}", facts)


def inspect(customer: CustomerName, release_id: Release = None, as_json: AsJson = False) -> None:
    """Tell what an image holds and promises. Example: cradle inspect demo"""
    from cradle.delivery.rebake import inspect as look

    found = look(ready(), customer, release_id)
    if as_json:
        emit(found, True, "", [])
        return
    manifest = found["manifest"]
    encoder = manifest["encoder"]
    facts = [("image", found["image"]), ("base", manifest["base"] or "none: data alone")]
    facts += [
        (name, manifest[name]) for name in ("release_id", "logical_date", "content_digest", "params_hash", "epoch")
    ]
    ports = (manifest["port_base"] + above for above in (names.API, names.DASHBOARDS))
    facts += [("ports", "{} API, {} dashboards".format(*ports))]
    if encoder:
        facts += [("encoder", f"{encoder['model']}, loss {encoder['loss']:.6f}, key {encoder['model_key'][:12]}")]
    emit(None, False, f"{customer}: image of {manifest['release_id'][:12]}", facts)
    tables = manifest["tables"].items()
    rows = [[name, one["rows"], ", ".join(one["key"]), one["snapshot_id"]] for name, one in tables]
    table("tables", ["table", "rows", "key", "snapshot"], rows)
    table(
        "layers",
        ["layer", "size", "digest"],
        [[one["name"], size(one["bytes"]), one["digest"]] for one in found["layers"]],
    )


@past.command("list")
def list_releases(customer: CustomerName, as_json: AsJson = False) -> None:
    """List the releases, newest first. Example: cradle releases list demo"""
    from cradle.delivery.rebake import listed

    found = listed(ready(), customer)
    if as_json:
        emit([one.model_dump(mode="json") for one in found], True, "", [])
        return
    rows = [
        [
            one.release_id[:12],
            one.logical_date,
            "current" if one.current else f"same as {one.same_as}" if one.same_as else "",
            (one.image or "")[:19],
            "verified" if one.verified else "",
            one.version or "",
        ]
        for one in found
    ]
    table(f"{customer}: releases", ["release", "logical date", "", "image", "", "version"], rows)


@past.command("diff")
def diff(
    customer: CustomerName,
    old: Annotated[str, typer.Argument(help="Release id, 12 or more characters.")],
    new: Annotated[str, typer.Argument(help="Release id, 12 or more characters.")],
    limit: Annotated[int, typer.Option(help="Rows listed per table; all are counted.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Tell the rows added, changed and removed. Example: cradle releases diff demo 0d2f03a9a9cb 2e7df1353fb6"""
    from cradle.changes import changes

    found = changes(ready(), customer, old, new, limit)
    if as_json:
        emit(found.model_dump(mode="json"), True, "", [])
        return
    rows = [[name, one.added, one.changed, one.removed] for name, one in found.tables.items()]
    table(f"{customer}: {old[:12]} → {new[:12]}", ["table", "added", "changed", "removed"], rows)


@past.command("rollback")
def rollback(
    customer: CustomerName,
    release: Annotated[str, typer.Argument(help="Release id, 12 or more characters.")],
    as_json: AsJson = False,
) -> None:
    """Make an earlier release the current one again. Example: cradle releases rollback demo 0d2f03a9a9cb"""
    from cradle.history import roll_back

    made = roll_back(ready(), customer, release)
    facts = {"release": made.release_id, "logical_date": made.logical_date.isoformat(), "sequence": made.sequence}
    emit({"customer": customer, **facts}, as_json, f"{customer}: rolled back", facts.items())


@past.command("rebake")
def rebake(customer: CustomerName, release_id: Release = None, as_json: AsJson = False) -> None:
    """Bake a kept release anew and compare the digests. Example: cradle releases rebake demo"""
    from cradle.delivery.rebake import rebake as again

    made = again(ready(), customer, release_id)
    emit(made.model_dump(mode="json"), as_json, f"{customer}: the same image again", [("image", made.digest)])


@past.command("collect")
def collect(
    customer: CustomerName,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be removed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove images that no kept release needs; the archive stays. Example: cradle releases collect demo --dry-run"""
    from cradle.delivery.collect import collect as sweep

    made = sweep(ready(), customer, dry_run=dry_run)
    facts = [("kept", ", ".join(made.kept)), ("dropped", ", ".join(made.dropped) or "none")]
    facts += [("blobs", f"{made.blobs}, {size(made.bytes)}")]
    title = f"{customer}: {'would be removed' if dry_run else 'removed'}"
    emit(made.model_dump(mode="json"), as_json, title, facts)


def deploy_test(
    package: Annotated[Path, typer.Argument(help="Folder or tar of a delivery package.", exists=True)],
    beside: Annotated[Path | None, typer.Option(help="Another customer's package, for isolation.", exists=True)] = None,
    as_json: AsJson = False,
) -> None:
    """Install a package in an empty folder, try all of it. Example: cradle deploy-test ./demo-v1.0-init"""
    from cradle.delivery.tester import deploy_test as trial

    ready()
    made = trial(package, beside)
    if as_json:
        emit(made.model_dump(mode="json"), True, "", [])
    else:
        rows = [["passed" if one.ok else "FAILED", one.name, one.detail, one.seconds] for one in made.checks]
        if beside is None:
            rows.append(["not tried", "isolation", "give another customer's package with --beside", 0.0])
        table(f"{made.customer} {made.version}: deployment", ["", "check", "seen", "seconds"], rows)
    if not made.passed:
        failed = ", ".join(one.name for one in made.checks if not one.ok)
        raise VerifyFailed(f"package {package} is not fit to be handed over: {failed}. Mend it, then make it anew.")
