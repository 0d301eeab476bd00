"""A lake to be thrown away, in which the verbs of a night can run for real and change nothing.

It is an embedded lake in a temporary folder. It borrows the customer's tables, its inbox and its originals: links and
metadata, no copies. It is given no secrets, so nothing in it could write to a server.

Flow: real catalog, inbox and originals → settings of a scratch home → any verb → thrown away
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cradle import names
from cradle.catalog import Lake, distinct, open_lake
from cradle.catalog.borrowed import borrow_tables, lake_to_look, renew_keys
from cradle.catalog.deliveries import as_of
from cradle.catalog.run import Run
from cradle.config import Settings
from cradle.errors import Unavailable, of_a_server
from cradle.store import fetch_inbox, fetch_original
from dlt_pipelines.inbox import original_path

KEYS_AGE = 1800  # seconds; vended keys live for an hour


@dataclass
class Scratch:
    """A scratch home for one customer; `settings` are those to call verbs with."""

    settings: Settings
    real: Settings
    customer: str
    looked_at: Lake | None
    borrowed: list[str]
    granted: float

    @property
    def lake(self) -> Lake:
        """The scratch lake, opened anew."""
        return open_lake(self.settings, self.customer)

    def refresh(self) -> None:
        """Renew the keys to the real files when they have grown old."""
        if self.looked_at is not None and time.monotonic() - self.granted > KEYS_AGE:
            renew_keys(self.looked_at, self.lake, self.borrowed)
            self.granted = time.monotonic()

    def told(self, text: str) -> str:
        """Return a message of a verb with the real paths; lines that name what is thrown away are left out."""
        text = text.replace(str(self.settings.inbox(self.customer)), str(self.real.inbox(self.customer)))
        return " ".join(line.strip() for line in text.splitlines() if str(self.settings.home) not in line)


@contextlib.contextmanager
def scratch_of(settings: Settings, customer: str) -> Iterator[Scratch]:
    """Make a scratch lake that begins as the customer's lake is now.

    Raises:
        Unavailable: a server can't be reached, now or while the scratch lake is used.
    """
    with tempfile.TemporaryDirectory(prefix="cradle-preview-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        local = {"home": home, "secrets": home / "secrets", "catalog": "embedded", "database": None}
        made = Scratch(settings.model_copy(update=local), settings, customer, None, [], time.monotonic())
        try:
            _link_extensions(made)
            made.looked_at = lake_to_look(settings, customer)
            if made.looked_at is not None:
                made.borrowed = borrow_tables(made.looked_at, made.lake)
            _link_inbox(made)
            yield made
        except Exception as error:
            if not of_a_server(error):
                raise
            told = f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"
            raise Unavailable(
                f"the preview of {customer}: {told}. Nothing was changed. Run `cradle doctor {customer}`, then the "
                f"same command again."
            ) from error


def _link_extensions(made: Scratch) -> None:
    """Use the DuckDB extensions that are unpacked already."""
    there = made.real.home / "work" / "duckdb-extensions"
    if there.is_dir():
        (made.settings.home / "work").mkdir(parents=True)
        (made.settings.home / "work" / "duckdb-extensions").symlink_to(there, target_is_directory=True)


def _link_inbox(made: Scratch) -> None:
    """Show the inbox folder file by file, so that what comes from the bucket lies beside it and not in it."""
    inbox, mine = made.real.inbox(made.customer), made.settings.inbox(made.customer)
    mine.mkdir(parents=True)
    for path in inbox.rglob("*"):
        target = mine / path.relative_to(inbox)
        if path.is_dir() and not path.is_symlink():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(path)
    fetch_inbox(_with_secrets(made), made.customer)


def bring_originals(made: Scratch, run: Run) -> None:
    """Show the originals in force: one that was kept and not loaded, or is to be read otherwise, is read again."""
    state = as_of(run.lake, run.installation, run.logical_date)
    for role in sorted(run.roles):
        loaded = distinct(run.lake, names.table("raw", role), names.STEP_KEY)
        for one in state.originals(role):
            target, there = (original_path(of, made.customer, one.file.sha256) for of in (made.settings, made.real))
            if one.step_key in loaded or target.exists():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if there.is_file():
                target.symlink_to(there)
            else:
                fetch_original(_with_secrets(made), made.customer, one.file.sha256, target)


def _with_secrets(made: Scratch) -> Settings:
    """Return the scratch home's settings with the right to read the store."""
    return made.settings.model_copy(update={"secrets": made.real.secrets or made.real.home / "secrets"})
