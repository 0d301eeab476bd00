"""Who may do what: every role, in every environment, layer and action, tried on the real catalog and store.

An action that is denied to one role is the same call that another role is seen to succeed with: no denial here is one
that would have failed anyway.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.exceptions import ForbiddenError

from cradle.catalog.connect import connect
from cradle.config import PROJECT, Settings
from cradle.names import ENVIRONMENTS, LAYERS

pytestmark = [pytest.mark.services, pytest.mark.timeout(1200)]
PAGE = PROJECT / "docs" / "roles.md"
PROD = "prod_analytics"
ROWS = pa.table({"k": pa.array([1], pa.int64())})
ROLES = ("analyst", "engineer", *(f"pipeline of {name}" for name in ENVIRONMENTS), "admin")
ACTIONS = ("list", "read", "write", "create", "drop")


def expected(role: str, environment: str, layer: str) -> set[str]:
    """Return what the issue of roles promises, written down apart from the code that grants it."""
    if role == "admin":
        return set(ACTIONS)
    if role == "analyst":
        return {"list", "read"} if (environment, layer) == (PROD, "marts") else set()
    if role == "engineer":
        return {"list", "read"} if environment == PROD else set(ACTIONS)
    return {"list", "read", "write", "create"} if role == f"pipeline of {environment}" else set()


def catalog_of(settings: Settings, customer: str, role: str) -> Any:
    """Open a catalog as a role; a pipeline as that of its environment."""
    name, _, environment = role.partition(" of ")
    changed = settings.model_copy(update={"environment": environment}) if environment else settings
    return connect(changed, customer, name)  # type: ignore[arg-type]


def allowed(call: Callable[[], Any]) -> bool:
    """Tell whether a call goes through; only the servers' words for a refusal count as one."""
    try:
        call()
    except ForbiddenError:
        return False
    except OSError as error:
        if "ACCESS_DENIED" in str(error) or "AccessDenied" in str(error) or "Access Denied" in str(error):
            return False
        raise
    return True


@pytest.fixture(scope="module")
def filled(two: Settings) -> Settings:
    """Every environment and layer holds a table `probe` with one row, made by the admin."""
    catalog = catalog_of(two, "demo", "admin")
    for environment, layer in itertools.product(ENVIRONMENTS, LAYERS):
        catalog.create_table((environment, layer, "probe"), schema=ROWS.schema).append(ROWS)
    return two


def attempt(catalog: Any, admin: Any, environment: str, layer: str, action: str) -> bool:
    namespace = (environment, layer)
    probe, fresh = (*namespace, "probe"), (*namespace, f"t{uuid.uuid4().hex[:10]}")
    if action == "list":
        return allowed(lambda: catalog.list_tables(namespace))
    if action == "read":
        return allowed(lambda: catalog.load_table(probe).scan().to_arrow())
    if action == "write":
        return allowed(lambda: catalog.load_table(probe).append(ROWS))
    if action == "create":
        made = allowed(lambda: catalog.create_table(fresh, schema=ROWS.schema))
        if made:
            admin.drop_table(fresh)
        return made
    admin.create_table(fresh, schema=ROWS.schema)
    dropped = allowed(lambda: catalog.drop_table(fresh))
    if not dropped:
        admin.drop_table(fresh)
    return dropped


def observe(settings: Settings, role: str) -> dict[tuple[str, str], set[str]]:
    """Try every action of a role; return what went through, by environment and layer."""
    catalog, admin = catalog_of(settings, "demo", role), catalog_of(settings, "demo", "admin")
    return {
        (environment, layer): {one for one in ACTIONS if attempt(catalog, admin, environment, layer, one)}
        for environment, layer in itertools.product(ENVIRONMENTS, LAYERS)
    }


def page(seen: dict[str, dict[tuple[str, str], set[str]]]) -> str:
    """Write what was seen as a table: one line per role and environment."""
    lines = [
        "# Roles",
        "",
        "What each role may do in a customer's catalog. Written by the test that tries all of it on Polaris and",
        "SeaweedFS (`tests/services/test_roles.py`): what is listed went through, everything else was refused.",
        "",
        f"| role | environment | {' | '.join(LAYERS)} |",
        "|---|---|" + "---|" * len(LAYERS),
    ]
    for role, environment in itertools.product(ROLES, ENVIRONMENTS):
        cells = [", ".join(one for one in ACTIONS if one in seen[role][environment, layer]) for layer in LAYERS]
        lines.append(f"| {role} | {environment} | {' | '.join(cell or '–' for cell in cells)} |")
    lines += ["", "The analyst also reads `ops.releases` of `prod_analytics`, which tells which release is current."]
    return "\n".join(lines) + "\n"


def test_every_role_may_do_what_is_promised_and_nothing_else(filled: Settings, request: pytest.FixtureRequest) -> None:
    seen = {role: observe(filled, role) for role in ROLES}
    for role, (environment, layer) in itertools.product(ROLES, seen["admin"]):
        assert seen[role][environment, layer] == expected(role, environment, layer), (role, environment, layer)
    if request.config.getoption("--write-proven", default=False):
        PAGE.write_text(page(seen), encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page(seen), "run with --write-proven"


def test_the_analyst_reads_the_one_table_that_tells_what_is_current(two: Settings) -> None:
    catalog = catalog_of(two, "demo", "analyst")
    assert catalog.load_table((PROD, "ops", "releases")).scan().to_arrow().num_rows == 0
    assert not allowed(lambda: catalog.load_table((PROD, "ops", "rejects")))
    assert not allowed(lambda: catalog.load_table(("dev_analytics", "ops", "releases")))


def test_a_right_that_is_taken_away_comes_back_with_the_next_provisioning(two: Settings) -> None:
    from cradle.services import provision
    from cradle.services.polaris import Management
    from cradle.services.roles import Grant

    polaris, right = Management(two), Grant("TABLE_READ_DATA", (PROD, "marts"))
    polaris.revoke_grant("demo", "analyst", right)
    polaris.add_grant("demo", "analyst", Grant("TABLE_DROP", (PROD, "marts")))
    assert provision(two, "demo", dry_run=True) == ["grants of demo.analyst: 1 new, 1 revoked"]
    assert provision(two, "demo") == ["grants of demo.analyst: 1 new, 1 revoked"]
    assert provision(two, "demo") == []
