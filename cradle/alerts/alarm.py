"""An alarm, and the cause by which it is told once."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from datetime import date
from typing import Literal
from urllib.parse import quote, urlsplit

from cradle.config import Settings

Kind = Literal["failed", "late", "no image", "rejects", "broken file", "finding"]
NIGHT: tuple[Kind, ...] = ("failed", "late", "no image")  # what a verified image makes good
LONGEST = 300  # characters of a message that tell its cause

# What differs between two tellings of one cause: ids and digests, then numbers, then white space.
_VARIES = ((re.compile(r"[0-9a-f]{8,}(?:-[0-9a-f]{4,})*"), "#"), (re.compile(r"\d+"), "#"), (re.compile(r"\s+"), " "))
_ADDRESSES = (
    re.compile(r"https?://(?:[^\s/@'\"]*@)?(?P<host>[\w.-]+)(?::(?P<port>\d+))?"),
    re.compile(r"host='(?P<host>[\w.-]+)', port=(?P<port>\d+)"),
    re.compile(r"server at \"(?P<host>[\w.-]+)\".{0,60}?port (?P<port>\d+)"),
)


@dataclass(frozen=True)
class Alarm:
    """What a person is told.

    Args:
        what: a few words for the subject.
        text: what failed, the value, what is allowed and the next command.
        cause: what tells this alarm from others of the same night and kind: verb, error type, normalised message.
        server: the server that is away; its failure is one cause for all customers.
        together: alarms that are raised at once with the same word here become one message.
    """

    kind: Kind
    customer: str
    environment: str
    logical_date: date | None
    what: str
    text: str
    cause: str = ""
    server: str = ""
    together: str = ""
    link: str = ""
    log: str = ""
    counts: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The name of the cause."""
        own = (self.kind, self.customer, self.environment, str(self.logical_date), self.cause)
        shared = ("server", self.server)
        return hashlib.sha256(json.dumps(shared if self.server else own).encode()).hexdigest()[:20]

    @property
    def night(self) -> str:
        """The night that is not well."""
        return night(self.customer, self.environment, self.logical_date)


def night(customer: str, environment: str, logical_date: date | None) -> str:
    """Build the name by which the causes know a night."""
    return f"{customer}/{environment}/{logical_date or 'undated'}"


def normalised(message: str) -> str:
    """Return a message without what differs each time it is told: ids, numbers, white space."""
    for pattern, word in _VARIES:
        message = pattern.sub(word, message)
    return message[:LONGEST]


def server_of(settings: Settings, message: str) -> str:
    """Return the server that a message names, as host:port: one of the settings', else the first; none: empty."""
    seen = [
        f"{found['host']}:{found['port'] or (443 if found[0].startswith('https') else 80)}"
        for pattern in _ADDRESSES
        for found in pattern.finditer(message)
    ]
    for url in (settings.s3_endpoint, settings.catalog_url, settings.database):
        parts = urlsplit(url or "")
        own = f"{parts.hostname}:{parts.port}"
        if parts.port and (own in seen or re.search(rf"(?<![\w.-]){re.escape(own)}(?!\d)", message)):
            return own
    return seen[0] if seen else ""


def run_link(settings: Settings, dag_id: str | None, run_id: str | None) -> str:
    """Return the address of a run in Airflow's pages; empty where no address is set."""
    if not (settings.airflow_url and dag_id and run_id):
        return ""
    return f"{settings.airflow_url.rstrip('/')}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"
