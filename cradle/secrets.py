"""Secrets as files `<customer>/<environment>/<name>.json`, mode 0600, read when they are needed and never kept.

No secret travels in an environment variable, a log, an Airflow connection or an XCom (DESIGN, section 4).
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path

from cradle.config import Settings
from cradle.errors import ConfigError
from cradle.tags import new_secret_tag

OPERATOR = "_operator"  # no customer can have this name: theirs begin with a letter
FACTORY = "_factory"  # what the factory uses for all customers: the mail server's login, a webhook of its own
ANY = "any"  # for what belongs to no single environment
TAG = "tag"


def secret_path(settings: Settings, owner: str, environment: str, name: str) -> Path:
    """Return where a secret lies, whether it exists or not."""
    return (settings.secrets or settings.home / "secrets") / owner / environment / f"{name}.json"


def has_secret(settings: Settings, owner: str, environment: str, name: str) -> bool:
    """Tell whether a secret is there."""
    return secret_path(settings, owner, environment, name).is_file()


def read_secret(settings: Settings, owner: str, environment: str, name: str) -> dict[str, str]:
    """Read a secret's fields.

    Raises:
        ConfigError: it isn't there, or other users of this machine may read it.
    """
    path = secret_path(settings, owner, environment, name)
    try:
        mode = path.stat().st_mode
        content: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        made = "make up" if owner == OPERATOR else f"cradle customers provision {owner}"
        raise ConfigError(
            f"secret {name} of {owner} can't be read: {path}: {error.strerror}. Run `{made}` to make it."
        ) from error
    if mode & 0o077:
        raise ConfigError(f"{path} may be read by other users (mode {mode & 0o777:o}). Run `chmod 600 {path}`.")
    return content


def write_secret(
    settings: Settings, owner: str, environment: str, name: str, content: Mapping[str, str], *, replace: bool = True
) -> None:
    """Keep a secret, whole or not at all; only this user may read it.

    It carries a tag of its owner from its first day, by which a leak of the file is found.

    Args:
        replace: False leaves one that is there as it is: of two writers at once, the first wins.
    """
    path = secret_path(settings, owner, environment, name)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{name}-{uuid.uuid4().hex}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
        json.dump({TAG: new_secret_tag(owner), **content}, handle)
        handle.flush()
        os.fsync(handle.fileno())
    if replace:
        temporary.replace(path)
        return
    with contextlib.suppress(FileExistsError):
        os.link(temporary, path)
    temporary.unlink()


def forget_secrets(settings: Settings, owner: str) -> int:
    """Delete all secrets of one owner; return how many there were."""
    folder = secret_path(settings, owner, ANY, "x").parent.parent
    found = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    for path in found:
        path.unlink()
    return len(found)
