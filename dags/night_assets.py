"""What a night makes, as Airflow's assets: the tables of a release, the release, the verified image."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Asset, get_current_context

from cradle.customers import Customer
from cradle.names import release_tables


def asset(name: str, what: str) -> Asset:
    """Return an asset of a customer."""
    return Asset(f"{name}.{what}", uri=f"x-cradle://{name}/{what.replace('.', '/')}", group=name)


def outlets(customer: Customer, verb: str) -> list[Asset]:
    """Return the assets that a task makes."""
    tables = release_tables({source.role for source in customer.installation.sources})
    made = {"release": [*sorted(tables), "release"], "verify": ["image"]}
    return [asset(customer.customer, what) for what in made.get(verb, ())]


def tell(verb: str, made: dict[str, Any]) -> None:
    """Give this task's asset events what a person wants to know of them."""
    context = get_current_context()
    for one in context["task"].outlets:
        context["outlet_events"][one].extra = facts(verb, made, one.name)


def facts(verb: str, made: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the facts of one asset from the result of the verb that made it."""
    fields = {"verify": ("digest", "release_id", "verified", "answer_seconds")}
    fields["release"] = ("release_id", "content_digest", "logical_date", "same_as", "epoch", "rejects")
    pin = made.get("pins", {}).get(name.partition(".")[2])
    if pin:
        return {"rows": pin["rows"], "snapshot": str(pin["snapshot_id"]), "release_id": made["release_id"]}
    return {field: made[field] for field in fields[verb]}
