"""One command per verb; each calls the function that the DAG calls."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from cradle import names
from cradle.cli.output import AsJson, CustomerName, Date, emit, size
from cradle.config import Settings, settings
from cradle.errors import ConfigError
from cradle.log import set_up

Release = Annotated[str | None, typer.Option("--release", help="Release id, 12 or more characters.")]


def ready() -> Settings:
    """Return the settings, logging set up."""
    found = settings()
    set_up(found.log_level, found.log_json)
    return found


def day(found: Settings, customer: str, text: str | None) -> date:
    """Return the date that a user gave, else the date of the interval that contains now.

    Raises:
        ConfigError: not a date.
    """
    from cradle.customers import load_customer, night_date

    known = load_customer(found.customers, customer)
    if text is None:
        return night_date(known, None, datetime.now(known.operation.zone))
    return date_of(text)


def date_of(text: str) -> date:
    """Return a date that a user gave.

    Raises:
        ConfigError: not a date.
    """
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"--date {text!r} is not a date. Write it as YYYY-MM-DD, for example 2024-04-01.") from error


def optional_day(found: Settings, customer: str, text: str | None) -> date | None:
    """Return the date that a user gave, None when there is none."""
    return day(found, customer, text) if text is not None else None


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    for command in (ingest, build, chunk, embed, index, release, bake, verify, serve):
        app.command(rich_help_panel="Verbs, in the order of the night")(command)


def _emit(result: Any, as_json: bool, title: str, *facts: tuple[str, Any]) -> None:
    emit(result.model_dump(mode="json"), as_json, title, facts)


def ingest(
    customer: CustomerName,
    when: Date = None,
    source: Annotated[list[str] | None, typer.Option(help="Only this source; may be given again.")] = None,
    as_json: AsJson = False,
) -> None:
    """Take what is due from the inbox and load it into raw tables. Example: cradle ingest demo --date 2024-04-01"""
    from dlt_pipelines.ingest import ingest as verb

    found = ready()
    result = verb(found, customer, day(found, customer, when), source)
    rows = [
        (one.source, f"{one.loaded} of {one.originals} files, {one.rows_accepted:,} rows") for one in result.sources
    ]
    rejected = sum(one.rows_rejected for one in result.sources)
    _emit(result, as_json, f"{customer}: ingested {result.logical_date}", *rows, ("rejected rows", rejected))


def build(
    customer: CustomerName,
    when: Date = None,
    layer: Annotated[
        Literal["staging", "marts"] | None,
        typer.Option(help="Only this layer: staging begins an attempt, marts ends it; none: both."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compute and test staging and marts, then publish them. Example: cradle build demo --date 2024-04-01"""
    from dbt_project.plugins.build import build as verb

    found = ready()
    result = verb(found, customer, day(found, customer, when), layer)
    rows = [(name, f"{one.rows:,} rows{'' if one.written else ', unchanged'}") for name, one in result.tables.items()]
    _emit(result, as_json, f"{customer}: built {result.logical_date}", *rows, ("tests passed", result.tests))


def chunk(customer: CustomerName, when: Date = None, as_json: AsJson = False) -> None:
    """Cut the documents into chunks. Example: cradle chunk demo --date 2024-04-01"""
    from cradle.indexing import chunk_documents

    found = ready()
    result = chunk_documents(found, customer, day(found, customer, when))
    _emit(result, as_json, f"{customer}: chunked {result.logical_date}", *result.chunks.items())


def embed(
    customer: CustomerName,
    when: Date = None,
    benchmark: Annotated[
        bool, typer.Option("--benchmark", help="Measure how fast this machine embeds instead.")
    ] = False,
    texts: Annotated[int, typer.Option(min=1, help="Texts to measure on.")] = 2000,
    as_json: AsJson = False,
) -> None:
    """Embed every text that has no vector yet. Example: cradle embed demo --date 2024-04-01"""
    from cradle.indexing import embed_chunks, embed_speed

    found = ready()
    if benchmark:
        speed = embed_speed(found, customer, texts)
        share = f"{speed.share_of_peak:.0%} of {speed.peak_teraflops:g} TFLOP/s"
        told = speed.model_dump(exclude={"customer", "peak_teraflops", "share_of_peak", "teraflops"}, exclude_none=True)
        measured = [(name.replace("_", " "), value) for name, value in told.items()]
        _emit(speed, as_json, f"{customer}: embedding on this machine", *measured, ("share of peak", share))
        return
    result = embed_chunks(found, customer, day(found, customer, when))
    facts = result.model_dump(include={"chunks", "distinct", "reused", "embedded", "seconds"})
    _emit(result, as_json, f"{customer}: embedded {result.logical_date}", *facts.items())


def index(customer: CustomerName, when: Date = None, as_json: AsJson = False) -> None:
    """Build and verify the collection. Example: cradle index demo --date 2024-04-01"""
    from cradle.indexing import index_chunks

    found = ready()
    result = index_chunks(found, customer, day(found, customer, when))
    facts = result.model_dump(include={"digest", "count", "dimension", "built"})
    _emit(result, as_json, f"{customer}: indexed {result.logical_date}", *facts.items())


def release(
    customer: CustomerName,
    when: Date = None,
    attempt: Annotated[int | None, typer.Option(help="Attempt of the build; none: the newest.")] = None,
    as_json: AsJson = False,
) -> None:
    """Pin all tables and vectors of a date as one row. Example: cradle release demo --date 2024-04-01"""
    from cradle.releases import release as verb

    found = ready()
    result = verb(found, customer, day(found, customer, when), attempt)
    facts = {"release": result.release_id, "sequence": result.sequence, "same as": result.same_as}
    _emit(result, as_json, f"{customer}: released {result.logical_date}", *facts.items(), ("rejects", result.rejects))


def bake(
    customer: CustomerName,
    when: Date = None,
    release_id: Release = None,
    out: Annotated[Path | None, typer.Option(help="Bake into this OCI layout instead.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make the image of a release. Example: cradle bake demo"""
    from cradle.bake import bake as verb

    found = ready()
    result = verb(found, customer, optional_day(found, customer, when), release_id=release_id, out=out)
    layers = [(one.name, f"{size(one.bytes)}{', reused' if one.reused else ''}") for one in result.layers]
    facts = [("image", result.digest), ("size", size(result.bytes)), ("to ship", size(result.bytes_to_ship))]
    _emit(result, as_json, f"{customer}: baked {result.release_id[:12]}", *layers, *facts)


def verify(customer: CustomerName, when: Date = None, release_id: Release = None, as_json: AsJson = False) -> None:
    """Check every promise of an image, by file and by asking it. Example: cradle verify demo"""
    from cradle.bake import verify as verb

    found = ready()
    result = verb(found, customer, optional_day(found, customer, when), release_id=release_id)
    checks = [(check.name, check.detail) for check in result.checks]
    _emit(result, as_json, f"{customer}: verified {result.digest}", *checks, ("seconds", result.answer_seconds))


def serve(
    customer: Annotated[str | None, typer.Argument(help="Customer whose image is served.")] = None,
    root: Annotated[Path | None, typer.Option(help="Folder of an unpacked image.")] = None,
    release_id: Release = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Port; none: the customer's base + 2.")] = None,
) -> None:
    """Serve the data API of an image. Example: cradle serve demo --port 9322"""
    from cradle.serve.server import serve as verb

    found = ready()
    if root is None:
        if customer is None:
            raise ConfigError("name a customer, or a folder with --root. Example: cradle serve demo")
        from cradle.cli.current import image_root
        from cradle.customers import load_customer

        root = image_root(found, customer, release_id)
        port = port or load_customer(found.customers, customer).operation.port_base + names.API
    verb(root, host, port or 9392)
