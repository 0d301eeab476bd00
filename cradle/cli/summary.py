"""What a person reads after a night."""

from __future__ import annotations

from typing import Any

from cradle import outcomes
from cradle.cli.output import console, emit, size, table
from cradle.cli.state import status_of
from cradle.config import Settings
from cradle.customers import load_customer


def summary(found: Settings, night: Any, as_json: bool) -> None:
    """Print the release that a night ended with, what was new in it, and what to do next."""
    customer = night.customer
    last = outcomes.last(found, customer, night.logical_date)
    content = status_of(found, customer)
    content["night"] = {
        "logical_date": night.logical_date.isoformat(),
        "seconds": round(night.seconds, 1),
        "changed": changes(night),
        "steps": night.seconds_by_verb(),
    }
    if as_json:
        emit(content, True, "", [])
        return
    _people(found, customer, content, last, night)


def changes(night: Any) -> dict[str, int]:
    """Return what the verbs of a night wrote; all zero: the night was a no-op."""
    return {
        "files loaded": night.count("ingest", "loaded"),
        "tables written": night.count("build", "written") + night.count("chunk", "written"),
        "texts embedded": night.count("embed", "embedded"),
        "collections built": night.count("index", "built"),
        "bytes to ship": night.count("bake", "bytes_to_ship"),
    }


def _people(found: Settings, customer: str, content: dict[str, Any], last: dict[str, Any], night: Any) -> None:
    release, image = content["release"], content["image"]
    console.print()
    rows = [[name, one["rows"], str(one["snapshot_id"])] for name, one in release["tables"].items()]
    table(f"{customer}, {night.logical_date}", ["table", "rows", "snapshot"], rows)
    console.print()
    counts = last["embed"]["counts"] if "embed" in last else {}
    chunks, embedded, reused = (counts.get(name, 0) for name in ("chunks", "embedded", "reused"))
    texts = f"{chunks:,} chunks, {embedded:,} texts embedded, {reused:,} reused"
    verified = last.get("verify", {}).get("counts", {})
    facts: list[tuple[str, Any]] = [
        ("rejects", content["rejects"]),
        ("search", texts),
        ("release", f"{release['id'][:12]} (sequence {release['sequence']})"),
    ]
    if image:
        facts += [
            ("image", f"{image['digest']}"),
            ("size", f"{size(image['bytes'])} in {len(image['layers'])} layers, {size(_to_ship(last))} new"),
            ("verified", f"{verified.get('checks', 0)} checks, {verified.get('failed', 0)} failed"),
        ]
    seconds = ", ".join(f"{verb} {took:.1f}" for verb, took in night.seconds_by_verb().items())
    facts += [("seconds", f"{night.seconds:.1f} in all: {seconds}")]
    emit(None, False, "", facts)
    if not any(content["night"]["changed"].values()):
        console.print("\n[green]Nothing had changed[/green]: no new snapshot, no text embedded, the same image digest.")
    base = load_customer(found.customers, customer).operation.port_base
    console.print(
        f"\nNext: [bold]make ui[/bold]   [bold]cradle serve {customer}[/bold] (http://127.0.0.1:{base + 2}/docs)",
        end="",
    )
    console.print(f"   [bold]cradle status {customer} --json[/bold]")


def _to_ship(last: dict[str, Any]) -> int:
    return int(last["bake"]["counts"].get("bytes_to_ship", 0)) if "bake" in last else 0
