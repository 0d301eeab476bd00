"""What a customer needs at the servers: buckets, identities, catalog, namespaces, roles, grants, secrets.

Flow: settings + customer → steps; each says whether it is needed, and does it
Run:  cradle customers provision demo --dry-run
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from cradle import names
from cradle.catalog.connect import Role, connect, namespaces
from cradle.catalog.lake import Lake
from cradle.catalog.ops import TABLES, ensure
from cradle.catalog.pins import load
from cradle.config import Settings
from cradle.customers import customer_names
from cradle.errors import ConfigError
from cradle.names import ENVIRONMENTS
from cradle.secrets import ANY, FACTORY, OPERATOR, forget_secrets, has_secret, read_secret, secret_path, write_secret
from cradle.services import s3
from cradle.services.erase import is_erased, refuse_erased
from cradle.services.polaris import Management
from cradle.services.roles import catalog_roles, pipeline_role, principal


@dataclass(frozen=True)
class Step:
    """One thing that provisioning changes."""

    what: str
    do: Callable[[], Any] = field(repr=False, compare=False)


def provision(settings: Settings, customer: str, *, dry_run: bool = False) -> list[str]:
    """Make everything a customer needs at the servers; return what was changed (or would be).

    Safe to repeat: what is there is left alone, what differs is put right, and nothing that holds data is deleted.

    Raises:
        ConfigError: the embedded default needs nothing, or the name can't be used at the servers.
        Unavailable: a server does not answer.
    """
    if settings.catalog == "embedded":
        raise ConfigError("the embedded catalog needs no provisioning. Set CRADLE_CATALOG and run again.")
    try:
        names.bucket(customer, "archive")
    except ValueError as error:
        raise ConfigError(f"{error}. Rename the customer's YAML file.") from error
    refuse_erased(settings, customer)
    done = []
    for step in _steps(settings, customer):
        if not dry_run:
            step.do()
        done.append(step.what)
    return done


def _steps(settings: Settings, customer: str) -> Iterator[Step]:
    """Yield what is missing, in the order in which it is needed; each step is done before the next is looked for."""
    yield from _buckets(settings, customer)
    yield from _identities(settings, customer)
    if settings.catalog == "polaris":
        yield from _catalog(settings, customer)


def _buckets(settings: Settings, customer: str) -> Iterator[Step]:
    store = s3.operator(settings)
    for kind in names.BUCKETS:
        name = names.bucket(customer, kind)
        if not s3.bucket_exists(store, name):
            locked = kind == "archive"
            yield Step(f"bucket {name}", partial(s3.create_bucket, store, name, locked=locked))


def _identities(settings: Settings, customer: str) -> Iterator[Step]:
    iam = s3.operator(settings, "iam")
    for name, rights in s3.identities(settings).items():
        user, wanted = principal(customer, name), s3.policy(customer, rights)
        known = s3.user_exists(iam, user)
        if not known:
            yield Step(f"identity {user}", partial(iam.create_user, UserName=user))
        if not known or not s3.same_policy(s3.user_policy(iam, user), wanted):
            yield Step(f"policy of {user}", partial(_put_policy, iam, user, wanted))
        if not known or not has_secret(settings, customer, ANY, name):
            yield Step(f"keys of {user}", partial(_renew_keys, settings, customer, iam, user, name))


def _put_policy(iam: Any, user: str, wanted: dict[str, Any]) -> None:
    iam.put_user_policy(UserName=user, PolicyName="cradle", PolicyDocument=json.dumps(wanted))


def _renew_keys(settings: Settings, customer: str, iam: Any, user: str, name: str) -> None:
    keys = s3.new_keys(iam, user)
    write_secret(settings, customer, ANY, name, keys)
    s3.end_other_keys(iam, user, keep={keys["access_key"]})


def _catalog(settings: Settings, customer: str) -> Iterator[Step]:
    polaris = Management(settings)
    if polaris.catalog(customer) is None:
        yield Step(f"catalog {customer}", partial(polaris.create_catalog, customer))
    elif polaris.storage_differs(customer):
        yield Step(f"storage of catalog {customer}", partial(polaris.update_storage, customer))
    roles = catalog_roles()
    yield from _principal(settings, polaris, customer, "admin")
    yield from _grants(polaris, customer, "admin")
    yield from _tables(settings, customer)
    for role in roles:
        if role != "admin":
            yield from _principal(settings, polaris, customer, role)
            yield from _grants(polaris, customer, role)


def _principal(settings: Settings, polaris: Management, customer: str, role: str) -> Iterator[Step]:
    name, environment, secret = principal(customer, role), *_secret_of(role)

    def make() -> None:
        login = polaris.reset_principal(name) if polaris.has_principal(name) else None
        write_secret(settings, customer, environment, secret, login or polaris.create_principal(name))
        polaris.ensure_role(customer, role, name)

    if not polaris.has_principal(name) or not has_secret(settings, customer, environment, secret):
        yield Step(f"principal {name}", make)
    else:
        polaris.ensure_role(customer, role, name)


def _secret_of(role: str) -> tuple[str, Role]:
    """Return (environment, name) under which a catalog role's secret lies."""
    for environment in ENVIRONMENTS:
        if role == pipeline_role(environment):
            return environment, "pipeline"
    return ANY, role  # type: ignore[return-value]


def _grants(polaris: Management, customer: str, role: str) -> Iterator[Step]:
    wanted, have = set(catalog_roles()[role]), polaris.grants(customer, role)
    missing, extra = sorted(wanted - have), sorted(have - wanted)

    def change() -> None:
        for grant in extra:
            polaris.revoke_grant(customer, role, grant)
        for grant in missing:
            polaris.add_grant(customer, role, grant)

    if missing or extra:
        yield Step(f"grants of {principal(customer, role)}: {len(missing)} new, {len(extra)} revoked", change)


def _tables(settings: Settings, customer: str) -> Iterator[Step]:
    """Namespaces, and the `ops` tables: a right to one table can only be granted when it is there."""
    if not has_secret(settings, customer, ANY, "admin"):
        return  # a dry run before the catalog exists
    catalog = connect(settings, customer, "admin")
    for environment in ENVIRONMENTS:
        lake = Lake(settings, customer, environment, catalog)
        for namespace in namespaces(environment):
            if not catalog.namespace_exists(namespace):
                yield Step(f"namespace {'.'.join(namespace)}", partial(catalog.create_namespace, namespace))
        for table, schema in TABLES.items():
            if load(lake, table) is None:
                yield Step(f"table {environment}.{table}", partial(ensure, lake, table, schema))


def rotate(settings: Settings, customer: str, *, end_old: bool = False) -> list[str]:
    """Give every principal and identity of a customer a new secret; return which.

    A running night keeps its secret until it ends: the old one stays valid beside the new, unless `end_old`.
    """
    changed = []
    iam = s3.operator(settings, "iam")
    for name in s3.identities(settings):
        user = principal(customer, name)
        before = read_secret(settings, customer, ANY, name)["access_key"]
        keys = s3.new_keys(iam, user)
        write_secret(settings, customer, ANY, name, keys)
        s3.end_other_keys(iam, user, keep={keys["access_key"]} | (set() if end_old else {before}))
        changed.append(f"keys of {user}")
    if settings.catalog == "polaris":
        polaris = Management(settings)
        for role in catalog_roles():
            name = principal(customer, role)
            environment, secret = _secret_of(role)
            held = read_secret(settings, customer, environment, secret)
            login = polaris.reset_principal(name) if end_old else polaris.rotate_principal(name, held)
            write_secret(settings, customer, environment, secret, login)
            changed.append(f"secret of {name}")
    return changed


def hand_out(settings: Settings, role: str, folder: Path) -> list[str]:
    """Copy what one role needs of all customers' secrets to a folder that its processes read; return what is there.

    The pipeline gets the login of the locks and its own secrets; an analyst's processes get the analysts' alone.
    """
    target = settings.model_copy(update={"secrets": folder})
    for gone in {path.name for path in folder.glob("[a-z]*")} - set(customer_names(settings.customers)):
        forget_secrets(target, gone)
    wanted = {"pipeline": ("pipeline", "files", "lake"), "analyst": ("analyst",)}[role]
    handed = []
    if role == "pipeline" and settings.database is not None:
        write_secret(target, OPERATOR, ANY, "database", read_secret(settings, OPERATOR, ANY, "database"))
    if role == "pipeline":
        handed += _hand_out_alerts(settings, target)
    for customer in customer_names(settings.customers):
        if is_erased(settings, customer):
            forget_secrets(target, customer)
        for name in wanted:
            for environment in (ANY, *ENVIRONMENTS):
                if has_secret(settings, customer, environment, name):
                    content = read_secret(settings, customer, environment, name)
                    write_secret(target, customer, environment, name, content)
                    handed.append(f"{customer}/{environment}/{name}")
    return handed


def _hand_out_alerts(settings: Settings, target: Settings) -> list[str]:
    """Copy what alerts are sent with: the mail server's login, and webhooks, the factory's and the customers'.

    What its owner has taken back is taken from the workers, too.
    """
    handed = []
    for owner in (FACTORY, *customer_names(settings.customers)):
        there, here = (secret_path(one, owner, ANY, "x").parent for one in (settings, target))
        wanted = {path.name for path in _of_alerts(there)} if not is_erased(settings, owner) else set()
        for gone in _of_alerts(here):
            if gone.name not in wanted:
                gone.unlink()
        for name in sorted(name.removesuffix(".json") for name in wanted):
            write_secret(target, owner, ANY, name, read_secret(settings, owner, ANY, name))
            handed.append(f"{owner}/{ANY}/{name}")
    return handed


def _of_alerts(folder: Path) -> list[Path]:
    return [path for kind in ("smtp", "webhook", "webhook_*") for path in folder.glob(f"{kind}.json")]
