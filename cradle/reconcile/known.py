"""Since when a customer is known: a night that should have begun before can't be missed.

Flow: first look → `<home>/alerts/<customer>/known_since`, written once
"""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from datetime import UTC, datetime

from cradle.config import Settings
from cradle.errors import UnknownCustomer


def known_since(settings: Settings, customer: str, now: datetime) -> datetime:
    """Return when the customer's file was first seen: at the first call, or when it was last written if that is longer.

    Raises:
        UnknownCustomer: there is no such file.
    """
    path = settings.alerts() / customer / "known_since"
    if not path.is_file():
        try:
            written = datetime.fromtimestamp((settings.customers / f"{customer}.yaml").stat().st_mtime, UTC)
        except FileNotFoundError as error:
            raise UnknownCustomer(f"customer {customer!r} is unknown. See `cradle customers list`.") from error
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{uuid.uuid4().hex}")
        temporary.write_text(min(now, written).astimezone(UTC).isoformat(), encoding="utf-8")
        with suppress(FileExistsError):  # of two at once the first wins
            os.link(temporary, path)
        temporary.unlink()
    return datetime.fromisoformat(path.read_text(encoding="utf-8"))
