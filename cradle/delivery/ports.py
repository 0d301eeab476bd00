"""Which ports a customer's container has: a block of ten per customer, recorded in its YAML, never guessed.

| above the base | service |
|---|---|
| 2 | data API |
| 3 | dashboards |
| 4 | console |
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Final

from cradle import names
from cradle.customers import customer_names, load_customer
from cradle.errors import ConfigError, CradleError, Unavailable

FIRST: Final = 9300
STEP: Final = 10
LAST: Final = 65_500
USED: Final = (names.API, names.DASHBOARDS, names.CONSOLE)
RESERVED: Final = {9333: "SeaweedFS' master", 9392: "`cradle serve --root`"}


def next_port_base(customers: Path) -> int:
    """Return the first block that no customer has and that holds no reserved port.

    Raises:
        ConfigError: there is none left.
    """
    taken = recorded(customers)
    for base in range(FIRST, LAST, STEP):
        if base not in taken.values() and not any(base + above in RESERVED for above in USED):
            return base
    raise ConfigError(f"no block of ports is left between {FIRST} and {LAST}.")


def recorded(customers: Path) -> dict[str, int]:
    """Return customer → port base of every YAML that can be read."""
    found = {}
    for name in customer_names(customers):
        try:
            found[name] = load_customer(customers, name).operation.port_base
        except CradleError:
            continue  # told by `cradle customers list`
    return found


def check_ports(customers: Path, customer: str) -> int:
    """Return a customer's port base when it clashes with nothing that is recorded.

    Raises:
        ConfigError: another customer has it, or a port of it is reserved.
    """
    known = recorded(customers)
    base = known[customer]
    others = [name for name, one in known.items() if name != customer and abs(one - base) < STEP]
    reserved = [f"{base + above} ({RESERVED[base + above]})" for above in USED if base + above in RESERVED]
    if others or reserved:
        clash = f"the ports of {', '.join(others)}" if others else f"reserved ports: {', '.join(reserved)}"
        raise ConfigError(
            f"customer {customer}: operation.port_base {base} clashes with {clash}. "
            f"Free: {next_port_base(customers)}. Change it in {customers / customer}.yaml, then bake again."
        )
    return base


def refuse_taken(base: int, host: str = "127.0.0.1") -> None:
    """Refuse ports on which something listens.

    Raises:
        Unavailable: one of them is taken.
    """
    for above in (names.API, names.DASHBOARDS):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, base + above))
            except OSError as error:
                raise Unavailable(
                    f"port {base + above} on {host} is taken ({error.strerror}). Stop what listens there, then again."
                ) from error
