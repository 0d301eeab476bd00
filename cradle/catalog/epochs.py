"""Installation epochs: which parameters hold for which logical date (DESIGN, section 4)."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

from pydantic import BaseModel, ConfigDict

from cradle.catalog import ops
from cradle.catalog.lake import Lake
from cradle.customers import Customer
from cradle.digest import step_key
from cradle.errors import ConfigError, EpochRefused
from cradle.installation import Installation, changed_fields, installation_hash

TABLE = "ops.installations"
BEGINNING = date(1, 1, 1)  # the first epoch holds for every date before the second


class Epoch(BaseModel):
    """One accepted installation block."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epoch: int
    valid_from: date
    params_hash: str
    installation: Installation
    accepted_at: datetime


def epochs(lake: Lake) -> list[Epoch]:
    """Return all accepted epochs, oldest first."""
    found = [
        Epoch(
            epoch=row["epoch"],
            valid_from=row["valid_from"],
            params_hash=row["params_hash"],
            installation=Installation.model_validate_json(row["installation"]),
            accepted_at=row["accepted_at"],
        )
        for row in ops.rows(lake, TABLE)
    ]
    return sorted(found, key=lambda epoch: epoch.epoch)


def epoch_of(lake: Lake, customer: Customer, logical_date: date) -> Epoch:
    """Return the epoch to run a date with; a customer's first block becomes epoch 1.

    That is the newest accepted one that is valid at the date, or the one that the settings name. What the YAML says
    counts for tonight only: it is never looked at for a date before the current release.

    Raises:
        EpochRefused: the YAML says something else than the newest epoch.
        ConfigError: the settings name an epoch that was never accepted.
    """
    known = epochs(lake) or [_store(lake, customer, 1, BEGINNING)]
    if lake.settings.epoch is not None:
        return _chosen(known, lake.settings.epoch, customer)
    if installation_hash(known[-1].installation) != customer.params_hash and not _is_old(lake, logical_date):
        _refuse(known[-1], customer)
    return valid_at(known, logical_date)


def valid_at(known: list[Epoch], logical_date: date) -> Epoch:
    """Return the newest of some epochs that is valid at a date."""
    valid = [epoch for epoch in known if epoch.valid_from <= logical_date]
    return max(valid, key=lambda epoch: (epoch.valid_from, epoch.epoch))


def _chosen(known: list[Epoch], number: int, customer: Customer) -> Epoch:
    for epoch in known:
        if epoch.epoch == number:
            return epoch
    have = ", ".join(f"{epoch.epoch} (from {epoch.valid_from})" for epoch in known)
    raise ConfigError(
        f"customer {customer.customer} has no epoch {number}. Accepted: {have}. Choose one of them, or unset "
        f"CRADLE_EPOCH to run each date with its own."
    )


def _is_old(lake: Lake, logical_date: date) -> bool:
    released = [row["logical_date"] for row in ops.rows(lake, "ops.releases") if row["kind"] == "release"]
    return bool(released) and logical_date < max(released)


def _refuse(newest: Epoch, customer: Customer) -> None:
    changed = "\n".join(f"  {line}" for line in changes(newest, customer))
    raise EpochRefused(
        f"customer {customer.customer}: the installation block has changed since epoch {newest.epoch} was accepted.\n"
        f"  accepted: {newest.params_hash}\n  now:      {customer.params_hash}\n{changed}\n"
        f"Take the change back, or accept it as epoch {newest.epoch + 1}: "
        f"`cradle customers accept {customer.customer} --valid-from YYYY-MM-DD`."
    )


def changes(newest: Epoch, customer: Customer) -> list[str]:
    """Return the fields in which a customer's YAML differs from an epoch, with both values."""
    return changed_fields(newest.installation.model_dump(mode="json"), customer.installation.model_dump(mode="json"))


def accept(lake: Lake, customer: Customer, valid_from: date) -> Epoch:
    """Store the YAML's block as the next epoch.

    Raises:
        ConfigError: nothing has changed, or the date is not after that of the newest epoch.
    """
    known = epochs(lake)
    if not known:
        return _store(lake, customer, 1, BEGINNING)
    newest = known[-1]
    if installation_hash(newest.installation) == customer.params_hash:
        raise ConfigError(f"customer {customer.customer}: nothing has changed since epoch {newest.epoch}.")
    if valid_from <= newest.valid_from:
        raise ConfigError(
            f"customer {customer.customer}: valid-from {valid_from} is not after {newest.valid_from}, where epoch "
            f"{newest.epoch} begins. Choose a later date."
        )
    return _store(lake, customer, newest.epoch + 1, valid_from)


def adopt(lake: Lake, known: list[Epoch]) -> int:
    """Accept the epochs of another environment as they are; return how many were new.

    Raises:
        EpochRefused: an epoch of the same number has other parameters here.
    """
    have = {epoch.epoch: epoch for epoch in epochs(lake)}
    for epoch in known:
        mine = have.get(epoch.epoch)
        if mine and (mine.params_hash, mine.valid_from) != (epoch.params_hash, epoch.valid_from):
            raise EpochRefused(
                f"customer {lake.customer}: epoch {epoch.epoch} of {lake.environment} is {mine.params_hash[:12]} from "
                f"{mine.valid_from}, the one to promote is {epoch.params_hash[:12]} from {epoch.valid_from}. "
                f"An accepted epoch never changes: promote from the environment whose epochs {lake.environment} has."
            )
    fresh = [epoch for epoch in known if epoch.epoch not in have]
    for epoch in fresh:
        _append(lake, epoch.model_copy(update={"accepted_at": datetime.now(UTC)}))
    return len(fresh)


def _store(lake: Lake, customer: Customer, number: int, valid_from: date) -> Epoch:
    epoch = Epoch(
        epoch=number,
        valid_from=valid_from,
        params_hash=customer.params_hash,
        installation=customer.installation,
        accepted_at=datetime.now(UTC),
    )
    _append(lake, epoch)
    return epoch


def _append(lake: Lake, epoch: Epoch) -> None:
    row = {
        "epoch": epoch.epoch,
        "valid_from": epoch.valid_from,
        "params_hash": epoch.params_hash,
        "installation": json.dumps(epoch.installation.model_dump(mode="json"), sort_keys=True, ensure_ascii=False),
        "statistics": None,
        "accepted_at": epoch.accepted_at,
    }
    key = step_key("accept", epoch=epoch.epoch, params_hash=epoch.params_hash)
    ops.append(lake, TABLE, ops.INSTALLATIONS, [row], key)
