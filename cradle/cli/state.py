"""Commands that look: status, doctor; and those that set things in motion: generate, night."""

from __future__ import annotations

import shutil
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from cradle.cli.current import status_of
from cradle.cli.output import AsJson, CustomerName, Date, emit, size, stderr, table
from cradle.cli.verbs import date_of, day, ready
from cradle.config import Settings
from cradle.errors import CradleError

PANEL = "Looking and running"


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (night, status, doctor, promote, generate, ui):
        app.command(rich_help_panel=PANEL)(command)


def status(customer: CustomerName, as_json: AsJson = False) -> None:
    """Tell the last release of a customer and its image. Example: cradle status demo --json"""
    found = ready()
    content = status_of(found, customer)
    release, image = content["release"], content.get("image")
    if release is None:
        emit(content, as_json, f"{customer}: no release yet", [("next", f"cradle night {customer}")])
        return
    facts = [("release", release["id"][:12]), ("logical date", release["logical_date"])]
    facts += [(name, f"{one['rows']:,} rows") for name, one in release["tables"].items()]
    facts += [("rejects", content["rejects"]), ("vectors", content["vectors"]["count"])]
    if image:
        verified = "verified" if image["verified"] else "not verified"
        facts += [("image", f"{image['digest']}, {size(image['bytes'])}, {verified}")]
    if content["stale"]:
        facts += [("stale dates", _dates([one["logical_date"] for one in content["stale"]]))]
    emit(content, as_json, f"{customer} in {found.environment}", facts)


def _dates(days: list[str]) -> str:
    """Return dates as one short line: the newest ones, and how many there are more."""
    more = f", and {len(days) - 5} older" if len(days) > 5 else ""
    return ", ".join(days[-5:]) + more


def doctor(
    customer: Annotated[str | None, typer.Argument(help="Also check this customer's YAML and lake.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check this machine, the settings and the customers' files. Example: cradle doctor"""
    found = ready()
    checks = _checks(found, customer)
    failed = next((one for one in checks if not one["ok"]), None)
    if as_json:
        emit(checks, True, "", [])
    else:
        table("doctor", ["check", "ok", "detail"], [[one["check"], one["ok"], one["detail"]] for one in checks])
        if failed and failed.get("run"):
            stderr.print(f"\n[bold red]{failed['check']}[/bold red] fails first. Likely: {failed['cause']}.")
            stderr.print(f"Run: [bold]{failed['run']}[/bold]", markup=True)
    if failed:
        raise typer.Exit(2)


def _checks(found: Settings, customer: str | None) -> list[dict[str, Any]]:
    from cradle.alerts.health import channels_ready, watched
    from cradle.catalog import open_lake
    from cradle.customers import customer_names, load_customer

    checks: list[dict[str, Any]] = []

    def check(name: str, test: Any) -> None:
        try:
            checks.append({"check": name, "ok": True, "detail": str(test())})
        except (CradleError, ImportError, OSError) as error:
            checks.append({"check": name, "ok": False, "detail": str(error)})

    check("python", lambda: sys.version.split()[0])
    for module in ("airflow", "chromadb", "dbt", "dlt", "duckdb", "pyiceberg", "torch"):
        check(module, lambda module=module: metadata.version(_package(module)))
    check("home", lambda: _writable(found.home))
    names = [customer] if customer else customer_names(found.customers)
    for name in names:
        check(f"{name}.yaml", lambda name=name: load_customer(found.customers, name).params_hash[:12])
    check("alerts", lambda: channels_ready(found, names))
    check("watchdog", lambda: watched(found, names, datetime.now(UTC)))
    if found.catalog == "embedded":
        if customer:
            check("catalog", lambda: open_lake(found, customer).environment)
        return checks
    from cradle.services.doctor import preflight

    return [*checks, *(one.content() for one in preflight(found, customer))]


def _package(module: str) -> str:
    return {"airflow": "apache-airflow", "dbt": "dbt-core"}.get(module, module)


def _writable(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / ".doctor"
    probe.write_text("ok")
    probe.unlink()
    return f"{folder}, {size(shutil.disk_usage(folder).free)} free"


def generate(
    example: Annotated[str, typer.Argument(help="demo, lightnet or eaton.")],
    seed: Annotated[int, typer.Option(help="Seed of the random numbers.")] = 42,
    rows: Annotated[int | None, typer.Option(help="Orders or products; none: full size.")] = None,
    changed: Annotated[
        float | None, typer.Option(help="Lightnet's next delivery: share of its products that changed, e.g. 0.01.")
    ] = None,
    changed_files: Annotated[
        int | None, typer.Option(help="Files in which the changes stand; none: all of them.")
    ] = None,
    when: Annotated[
        str | None, typer.Option("--date", help="Write into the inbox's folder of this date, YYYY-MM-DD.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write an example customer's files into its inbox. Example: cradle generate lightnet --rows 2000"""
    from dataclasses import asdict

    from cradle.examples import generate as make

    found = ready()
    dated = date_of(when) if when else None
    with stderr.status(f"{example} ...") as line:
        made = make(
            example,
            found.inbox(example),
            seed=seed,
            rows=rows,
            changed=changed,
            changed_files=changed_files,
            day=dated,
            told=lambda files, written: line.update(f"{example}: {files} files, {size(written)}"),
        )
    facts = [("files", len(made.files)), ("new or changed", made.written), ("size", size(made.bytes))]
    emit(asdict(made), as_json, f"{example}: {found.inbox(example)}", facts)


def night(
    customer: CustomerName,
    when: Date = None,
    folder: Annotated[Path | None, typer.Option("--from", help="Copy this folder into the inbox first.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run the whole night of a customer through Airflow. Example: cradle night demo --date 2024-04-01"""
    from cradle.cli.night import run_night
    from cradle.cli.summary import summary

    found = ready()
    logical_date = day(found, customer, when)
    if folder is not None:
        from dlt_pipelines.inbox import fill_inbox

        fill_inbox(found, customer, folder)
    result = run_night(found, customer, logical_date, quiet=as_json)
    summary(found, result, as_json)


def promote(
    customer: CustomerName,
    to: Annotated[str, typer.Option(help="Environment to promote to.")],
    when: Date = None,
    as_json: AsJson = False,
) -> None:
    """Rebuild a release in another environment, equal. Example: cradle promote demo --to staging_analytics"""
    from cradle.cli.promote import promote as rebuild

    found = ready()
    made = rebuild(found, customer, to, day(found, customer, when) if when else None)
    facts = {"release": made.release_id, "logical_date": made.logical_date.isoformat()}
    facts |= {"from": found.environment, "to": to, "content_digest": made.content_digest}
    emit({"customer": customer, **facts}, as_json, f"{customer}: promoted, equal content", facts.items())


def ui(customer: Annotated[str, typer.Argument(help="Customer whose image is served.")] = "demo") -> None:
    """Start Airflow, the dashboards and the API of the image, until Ctrl-C. Example: cradle ui demo"""
    from cradle.cli.ui import run_ui

    run_ui(ready(), customer)
