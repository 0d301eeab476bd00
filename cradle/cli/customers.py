"""Commands about the customers' YAML files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cradle.cli.output import AsJson, CustomerName, console, emit, table
from cradle.cli.verbs import day, ready
from cradle.errors import ConfigError

app = typer.Typer(help="List, add, accept, provision and erase customers.", no_args_is_help=True)


@app.command("list")
def list_customers(as_json: AsJson = False) -> None:
    """List the customers. Example: cradle customers list"""
    from cradle.customers import customer_names, load_customer

    found = ready()
    rows = []
    for name in customer_names(found.customers):
        try:
            known = load_customer(found.customers, name)
            sources = ", ".join(source.name for source in known.installation.sources)
            rows.append([name, known.operation.title, sources, known.params_hash[:12]])
        except ConfigError as error:
            rows.append([name, "broken", str(error).splitlines()[0], ""])
    if as_json:
        keys = ("customer", "title", "sources", "params_hash")
        emit([dict(zip(keys, row, strict=True)) for row in rows], True, "", [])
    else:
        table("customers", ["customer", "title", "sources", "parameters"], rows)


@app.command()
def add(
    customer: CustomerName,
    folder: Annotated[
        Path, typer.Option("--from", help="Folder with the customer's files.", exists=True, file_okay=False)
    ],
    as_json: AsJson = False,
) -> None:
    """Look at a folder's files and write the customer's YAML. Example: cradle customers add acme --from ./files"""
    from cradle.delivery.ports import next_port_base
    from dlt_pipelines.reading.look import look, to_yaml

    found = ready()
    target = found.customers / f"{customer}.yaml"
    if target.exists():
        raise ConfigError(f"{target} exists. Edit it, or choose another name.")
    seen = look(folder, customer, next_port_base(found.customers))
    text = to_yaml(seen)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    sources = [
        (one.name, f"{one.role}, {one.format}, {', '.join(one.files[:3])}")
        for one in seen.customer.installation.sources
    ]
    content = {"customer": customer, "file": str(target), "left_out": list(seen.left_out), "notes": list(seen.notes)}
    emit(content, as_json, f"{customer}: wrote {target}", sources)
    if not as_json:
        for note in (*seen.notes, *(f"left out: {name}" for name in seen.left_out)):
            console.print(f"  [yellow]![/yellow] {note}", highlight=False)
        console.print(f"\nRead and edit it, then: [bold]cradle night {customer} --from {folder}[/bold]")


@app.command()
def accept(
    customer: CustomerName,
    valid_from: Annotated[str, typer.Option(help="First logical date of the new epoch, YYYY-MM-DD.")],
    as_json: AsJson = False,
) -> None:
    """Accept a changed installation block. Example: cradle customers accept demo --valid-from 2024-05-01"""
    from cradle.catalog import open_lake
    from cradle.catalog.epochs import accept as accept_epoch
    from cradle.customers import load_customer

    found = ready()
    known = load_customer(found.customers, customer)
    epoch = accept_epoch(open_lake(found, customer), known, day(found, customer, valid_from))
    facts = {"epoch": epoch.epoch, "valid_from": epoch.valid_from.isoformat(), "params_hash": epoch.params_hash}
    emit({"customer": customer, **facts}, as_json, f"{customer}: accepted", facts.items())


@app.command()
def provision(
    customer: Annotated[str | None, typer.Argument(metavar="CUSTOMER", help="Customer; none: all.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be changed, and change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a customer's buckets, catalog, roles and secrets at the servers. Example: cradle customers provision demo"""
    from cradle.customers import customer_names, load_customer
    from cradle.services import provision as make
    from cradle.services.erase import is_erased

    found = ready()
    wanted = [customer] if customer else [one for one in customer_names(found.customers) if not is_erased(found, one)]
    told = []
    for name in wanted:
        load_customer(found.customers, name)
        changed = make(found, name, dry_run=dry_run)
        told.append({"customer": name, "dry_run": dry_run, "changed": changed})
        if not as_json:
            title = f"{name}: {len(changed)} {'to change' if dry_run else 'changed'}"
            emit(told, False, title, [("would make" if dry_run else "made", one) for one in changed])
    if as_json:
        emit(told[0] if customer else told, True, "", [])


@app.command()
def rotate(
    customer: CustomerName,
    end_old: Annotated[bool, typer.Option("--end-old", help="End old secrets at once; running nights fail.")] = False,
    as_json: AsJson = False,
) -> None:
    """Give a customer's principals and identities new secrets. Example: cradle customers rotate demo"""
    from cradle.services import rotate as renew

    changed = renew(ready(), customer, end_old=end_old)
    emit({"customer": customer, "changed": changed}, as_json, f"{customer}: rotated", [("new", one) for one in changed])


@app.command()
def erase(
    customer: CustomerName,
    confirm: Annotated[str, typer.Option(help="The customer's name once more.")] = "",
    confirm_again: Annotated[str, typer.Option(help="The words: erase <customer> for good.")] = "",
    as_json: AsJson = False,
) -> None:
    """Erase everything of a customer but its YAML; a tombstone stays. Example: cradle customers erase demo"""
    from cradle.services.erase import erase as erase_customer

    counts = erase_customer(ready(), customer, confirm, confirm_again)
    emit({"customer": customer, **counts}, as_json, f"{customer}: erased", counts.items())


@app.command("hand-out")
def hand_out(
    role: Annotated[str, typer.Argument(help="pipeline or analyst.")],
    to: Annotated[Path, typer.Option(help="Folder that this role's processes read.", file_okay=False)],
    as_json: AsJson = False,
) -> None:
    """Copy one role's secrets, and no others, to a folder. Example: cradle customers hand-out analyst --to ./secrets"""
    from cradle.services.provision import hand_out as copy

    if role not in ("pipeline", "analyst"):
        raise ConfigError(f"role {role!r}: allowed are pipeline and analyst.")
    handed = copy(ready(), role, to)
    emit({"role": role, "handed_out": handed}, as_json, f"{role}: {to}", [("secret", one) for one in handed])
