"""Who may do what in a customer's catalog: the one table that provisioning grants and the tests prove.

| role | may |
|---|---|
| analyst | read the marts of prod, and `ops.releases` there, which tells what is current |
| engineer | read and write dev and staging, read prod |
| pipeline | make, read and write tables of its own environment; never drop one |
| admin | everything in this customer's catalog |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cradle.names import ENVIRONMENTS

PROD: Final = "prod_analytics"
LOOK: Final = ("NAMESPACE_LIST", "NAMESPACE_READ_PROPERTIES")
READ: Final = (*LOOK, "TABLE_LIST", "TABLE_READ_DATA")
MAKE: Final = (*READ, "TABLE_CREATE", "TABLE_WRITE_DATA", "TABLE_WRITE_PROPERTIES")
WRITE: Final = (*MAKE, "TABLE_DROP", "NAMESPACE_CREATE")
READABLE_OPS: Final = "releases"


@dataclass(frozen=True, order=True)
class Grant:
    """A privilege on a namespace, on one table of it, or (no namespace) on the catalog."""

    privilege: str
    namespace: tuple[str, ...] = ()
    table: str = ""


def catalog_roles() -> dict[str, tuple[Grant, ...]]:
    """Return the grants of each catalog role; the pipeline is one role per environment."""
    grants = {
        "analyst": (*_on((PROD, "marts"), (*READ, "VIEW_LIST")), Grant("TABLE_READ_DATA", (PROD, "ops"), READABLE_OPS)),
        "engineer": (
            *(one for name in ENVIRONMENTS if name != PROD for one in _on((name,), WRITE)),
            *_on((PROD,), READ),
        ),
        "admin": _on((), ("CATALOG_MANAGE_CONTENT", "CATALOG_MANAGE_METADATA", "CATALOG_MANAGE_ACCESS")),
    }
    return grants | {pipeline_role(name): _on((name,), MAKE) for name in ENVIRONMENTS}


def pipeline_role(environment: str) -> str:
    """Return the name of an environment's pipeline role."""
    return f"pipeline_{environment}"


def principal(customer: str, role: str) -> str:
    """Return the principal that has one role in one customer's catalog; a dot is in no customer's name."""
    return f"{customer}.{role}"


def _on(namespace: tuple[str, ...], privileges: tuple[str, ...]) -> tuple[Grant, ...]:
    return tuple(Grant(privilege, namespace) for privilege in privileges)
