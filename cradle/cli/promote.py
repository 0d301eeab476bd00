"""Promotion: a code version and its epochs are accepted in another environment, and everything is rebuilt there.

Nothing is copied but what was recorded: equal originals, epochs and code must give the same content digest.

Flow: release of one environment → epochs and deliveries accepted in the other → verbs of a night → equal digest
Run:  cradle promote demo --to staging_analytics
"""

from __future__ import annotations

from datetime import date

from cradle import __version__, releases
from cradle.bake import bake, verify
from cradle.catalog import open_lake
from cradle.catalog.deliveries import record, recorded
from cradle.catalog.epochs import adopt, epochs
from cradle.config import Settings
from cradle.errors import ConfigError, PromotionDiffers
from cradle.indexing import chunk_documents, embed_chunks, index_chunks
from cradle.names import ENVIRONMENTS
from cradle.outcomes import outcome
from cradle.releases import Release


def promote(settings: Settings, customer: str, target: str, logical_date: date | None = None) -> Release:
    """Rebuild a release of this environment in another one and return the release there.

    Args:
        target: the environment to promote to.
        logical_date: whose release is promoted; None: the current one.

    Raises:
        ConfigError: no such environment, or the release was made by another code version than the one that runs.
        EpochRefused: the environments disagree about an epoch.
        PromotionDiffers: the content is another; the release in the target stays as it is for comparison.
    """
    if target not in ENVIRONMENTS or target == settings.environment:
        others = ", ".join(one for one in ENVIRONMENTS if one != settings.environment)
        raise ConfigError(f"--to {target!r}: allowed from {settings.environment} are {others}.")
    source = open_lake(settings, customer)
    wanted = releases.find(source, logical_date=logical_date)
    if wanted.code_version != __version__:
        raise ConfigError(
            f"release {wanted.short_id} of {settings.environment} was made by version {wanted.code_version}, this is "
            f"{__version__}. Run `cradle night {customer} --date {wanted.logical_date}` first."
        )
    there = settings.model_copy(update={"environment": target})
    with outcome(there, customer, "promote", wanted.logical_date) as noted:
        noted.inputs = {"release": wanted.release_id, "from": settings.environment, "code_version": __version__}
        lake = open_lake(there, customer)
        adopted = adopt(lake, [one for one in epochs(source) if one.valid_from <= wanted.logical_date])
        have = {(one.source, one.logical_date, one.version) for one in recorded(lake)}
        known = [one for one in recorded(source) if one.logical_date <= wanted.logical_date]
        fresh = [one for one in known if (one.source, one.logical_date, one.version) not in have]
        record(lake, fresh)
        made = _rebuild(there, customer, wanted.logical_date)
        noted.counts = {"epochs": adopted, "deliveries": len(fresh)}
        noted.outputs = {"release": made.release_id, "equal": made.content_digest == wanted.content_digest}
        if made.content_digest != wanted.content_digest:
            raise PromotionDiffers(_difference(wanted, made, settings.environment, target))
        return made


def _rebuild(settings: Settings, customer: str, logical_date: date) -> Release:
    from dbt_project.plugins.build import build
    from dlt_pipelines.ingest import ingest

    ingest(settings, customer, logical_date, claim=False)
    attempt = build(settings, customer, logical_date).attempt
    chunk_documents(settings, customer, logical_date)
    embed_chunks(settings, customer, logical_date)
    index_chunks(settings, customer, logical_date)
    made = releases.release(settings, customer, logical_date, attempt)
    bake(settings, customer, logical_date, release_id=made.release_id)
    verify(settings, customer, logical_date, release_id=made.release_id)
    return made


def _difference(wanted: Release, made: Release, source: str, target: str) -> str:
    differ = [
        table
        for table in sorted(wanted.pins.keys() | made.pins.keys())
        if (one := wanted.pins.get(table)) is None
        or (other := made.pins.get(table)) is None
        or one.content_digest != other.content_digest
    ]
    if wanted.collection != made.collection:
        differ.append("the collection")
    return (
        f"customer {wanted.customer}, {wanted.logical_date}: {target} holds another content than {source}, in "
        f"{', '.join(differ)}. Compare them with `cradle query {wanted.customer}`, then promote again."
    )
