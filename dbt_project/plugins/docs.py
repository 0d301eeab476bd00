"""dbt's pages on a customer's models: columns, tests, lineage, for a browser and for Airflow's menu.

Flow: dbt docs generate → <home>/docs/<customer>/<environment>/
Run:  cradle docs demo
"""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from cradle.catalog import resolve
from cradle.catalog.deliveries import as_of
from cradle.catalog.run import open_run
from cradle.config import Settings
from cradle.outcomes import outcome
from dbt_project.plugins.build import selection, tables_of
from dbt_project.plugins.current import Build
from dbt_project.plugins.invoke import run_dbt, work_folder

PAGES = ("index.html", "manifest.json", "catalog.json")


class DocsResult(BaseModel):
    """Where the pages lie, and how many models they describe."""

    model_config = ConfigDict(frozen=True)

    customer: str
    logical_date: date
    folder: Path
    models: int


def docs(settings: Settings, customer: str, logical_date: date) -> DocsResult:
    """Write dbt's docs of the customer's models, with the columns of the tables as they stand for the date.

    Raises:
        BuildFailed: dbt could not write them.
    """
    with outcome(settings, customer, "docs", logical_date) as noted:
        run = open_run(settings, customer, logical_date)
        current = Build(run, as_of(run.lake, run.installation, logical_date))
        for model, table in tables_of(run).items():
            pin = resolve(run.lake, table, run.branch) or resolve(run.lake, table)
            current.upstream |= {model: pin} if pin else {}
        run_dbt(["docs", "generate", "--select", *selection(run)], settings, current)
        folder = settings.docs(customer)
        folder.mkdir(parents=True, exist_ok=True)
        for page in PAGES:
            part = folder / f".{page}"
            shutil.copyfile(work_folder(settings, run) / page, part)
            part.replace(folder / page)
        noted.counts = {"models": len(tables_of(run))}
        return DocsResult(customer=customer, logical_date=logical_date, folder=folder, models=len(tables_of(run)))
