"""Puts the summary of a run on its page in Airflow, as the run's note; works where the scheduler does."""

from __future__ import annotations

import contextlib
import logging
from types import SimpleNamespace
from typing import Any

from airflow.listeners import hookimpl
from airflow.models.dagrun import DagRunNote
from airflow.plugins_manager import AirflowPlugin
from airflow.utils.session import create_session
from sqlalchemy.orm import object_session

from cradle.config import settings
from cradle.names import FLEET
from cradle.summary import note_of

log = logging.getLogger(__name__)


def tell(dag_run: Any) -> None:
    """Write the note; a run without a summary gets none, and no error here may stop the scheduler."""
    kind, _, customer = dag_run.dag_id.partition("_")
    if kind not in ("night", "fleet"):
        return
    try:
        note = note_of(settings(), customer or FLEET, dag_run.run_id)
    except OSError as error:
        log.warning("no summary of %s %s can be read: %s", dag_run.dag_id, dag_run.run_id, error)
        return
    if note:
        # In the scheduler the run is locked by its own session, so that no other may write; `cradle night` has none.
        with contextlib.nullcontext(own) if (own := object_session(dag_run)) else create_session() as session:
            written = DagRunNote(note)
            written.dag_run_id = dag_run.id
            session.merge(written)


def ended(dag_run: Any, msg: str) -> None:
    """Airflow calls this for each run that has ended; both names are Airflow's."""
    tell(dag_run)


class RunNotes(AirflowPlugin):
    """The listener."""

    name = "cradle_run_notes"
    listeners = [SimpleNamespace(on_dag_run_success=hookimpl(ended), on_dag_run_failed=hookimpl(ended))]  # noqa: RUF012
