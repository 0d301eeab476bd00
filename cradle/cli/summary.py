"""What a person reads after a night."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cradle import names
from cradle.cli.current import status_of
from cradle.cli.output import console, emit, size, table
from cradle.config import Settings
from cradle.customers import load_customer

if TYPE_CHECKING:
    from cradle.cli.night import NightResult


def summary(found: Settings, night: NightResult, as_json: bool) -> None:
    """Print the release that a night ended with, what was new in it, and what to do next."""
    customer = night.customer
    content = status_of(found, customer)
    content["night"] = {
        "logical_date": night.logical_date.isoformat(),
        "run_id": night.run_id,
        "seconds": round(night.seconds, 1),
        "changed": changes(night),
        "steps": night.seconds_by_verb(),
    }
    if as_json:
        emit(content, True, "", [])
        return
    _people(found, customer, content, night)


def changes(night: NightResult) -> dict[str, int]:
    """Return what the steps of a night wrote; all zero: the night was a no-op."""
    return {
        "files loaded": night.count("ingest", "loaded"),
        "tables written": night.count("build", "written") + night.count("chunk", "written"),
        "texts embedded": night.count("embed", "embedded"),
        "collections built": night.count("index", "built"),
        "bytes to ship": night.count("bake", "bytes_to_ship"),
    }


def _people(found: Settings, customer: str, content: dict[str, Any], night: NightResult) -> None:
    release, image = content["release"], content["image"]
    console.print()
    rows = [[name, one["rows"], str(one["snapshot_id"])] for name, one in release["tables"].items()]
    table(f"{customer}, {night.logical_date}", ["table", "rows", "snapshot"], rows)
    console.print()
    chunks, embedded, reused = (night.count("embed", name) for name in ("chunks", "embedded", "reused"))
    texts = f"{chunks:,} chunks, {embedded:,} texts embedded, {reused:,} reused"
    facts: list[tuple[str, Any]] = [
        ("rejects", content["rejects"]),
        ("search", texts),
        ("release", f"{release['id'][:12]} (sequence {release['sequence']})"),
    ]
    if image:
        ship = night.count("bake", "bytes_to_ship")
        facts += [
            ("image", f"{image['digest']}"),
            (
                "size",
                f"{size(image['bytes'])} in {len(image['layers'])} layers, {size(ship)} new",
            ),
            ("verified", f"{night.count('verify', 'checks')} checks, {night.count('verify', 'failed')} failed"),
        ]
    seconds = ", ".join(f"{verb} {taken:.1f}" for verb, taken in night.seconds_by_verb().items())
    facts += [("seconds", f"{night.seconds:.1f} in all: {seconds}")]
    emit(None, False, "", facts)
    if not any(content["night"]["changed"].values()):
        console.print("\n[green]Nothing had changed[/green]: no new snapshot, no text embedded, the same image digest.")
    api = load_customer(found.customers, customer).operation.port_base + names.API
    console.print(
        f"\nNext: [bold]make ui[/bold]   [bold]cradle serve {customer}[/bold] (http://127.0.0.1:{api}/docs)",
        end="",
    )
    console.print(f"   [bold]cradle status {customer} --json[/bold]")
