"""The delivery package: all that a customer's administrator needs, in one folder, without a network.

Flow: archived version → image archive (or delta) + compose file + keys + guide → SHA256SUMS last
Run:  cradle package demo --recipient age1…
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Final

import pyrage
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from pydantic import BaseModel, ConfigDict

from cradle import names, oci
from cradle.access import FILE, Role, new_key, write_keys
from cradle.bake.archive import write_archive
from cradle.bake.gzipped import Gzipped
from cradle.config import Settings
from cradle.customers import load_customer
from cradle.delivery.delta import make_delta, sign_delta
from cradle.delivery.ports import check_ports
from cradle.delivery.publish import Version, blob_key, publisher_key, signed_statement, versions
from cradle.delivery.vault import open_vault
from cradle.digest import file_sha256
from cradle.errors import ConfigError, MissingStep
from cradle.outcomes import outcome
from cradle.signed import fingerprint

SUMS: Final = "SHA256SUMS"
SIGNATURE: Final = "signature.json"
ROLES: Final[tuple[Role, ...]] = ("admin", "reader")


class Package(BaseModel):
    """A delivery package and what it holds."""

    model_config = ConfigDict(frozen=True)

    customer: str
    version: str
    release_id: str
    image: str
    folder: Path
    archive: str
    delta_from: str | None
    bytes: int
    fingerprint: str
    ports: dict[str, int]


def package(
    settings: Settings,
    customer: str,
    *,
    version: str | None = None,
    since: str | None = None,
    out: Path | None = None,
    recipient: str | None = None,
) -> Package:
    """Make the delivery package of a published version, the newest when none is named.

    Args:
        since: version that the customer has: what goes out is the delta from it.
        out: folder that will hold the package's folder.
        recipient: the customer's age public key; none: the one in its YAML.

    Raises:
        MissingStep: nothing, or not this version, was published.
        ConfigError: there is no key to encrypt the first credentials to, or the package is there already.
    """
    with outcome(settings, customer, "package", None) as noted:
        known = versions(settings, customer)
        chosen, before = _find(customer, known, version), _find(customer, known, since) if since else None
        target = (out or settings.home / "packages" / customer) / f"{customer}-{chosen.version}"
        if target.exists():
            raise ConfigError(f"{target} exists. Hand it over, or delete it, or choose another folder with --out.")
        check_ports(settings.customers, customer)
        key = recipient or load_customer(settings.customers, customer).operation.age_recipient
        target.parent.mkdir(parents=True, exist_ok=True)
        archive = _write(settings, chosen, before, key, target)
        made = _describe(settings, chosen, before, archive, target)
        noted.counts = {"bytes": made.bytes}
        noted.outputs = {"version": made.version, "folder": str(made.folder)}
        return made


def _write(settings: Settings, version: Version, before: Version | None, recipient: str | None, target: Path) -> str:
    """Write the package's folder, whole or not at all; return the name of the image's file."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".package-") as name:
        folder = Path(name) / target.name
        folder.mkdir()
        _credentials(version.customer, recipient, folder)
        archive = _image(settings, version, before, folder)
        (folder / SIGNATURE).write_bytes(signed_statement(settings, version))
        _texts(settings, version, before, archive, folder)
        _sums(folder)
        folder.rename(target)
        return archive


def _find(customer: str, known: list[Version], wanted: str | None) -> Version:
    found = [one for one in known if wanted in (None, one.version, one.short_id, one.release_id)]
    if not found:
        have = ", ".join(one.version for one in known) or "none yet"
        raise MissingStep(
            f"version {wanted or 'of any number'} of {customer} is not in the archive. There is: {have}. "
            f"Run `cradle publish {customer}`."
        )
    return found[-1]


def _image(settings: Settings, version: Version, before: Version | None, folder: Path) -> str:
    """Write the image, or the delta to it; return the file's name."""
    stem = f"{version.customer}-{version.version}-{version.short_id}"
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="layout-") as name:
        layout = Path(name)
        fetch(settings, version, layout)
        if before:
            fetch(settings, before, layout)
            target = folder / f"{stem}.delta"
            make_delta(layout, before.image, version.image, target)
            signature = sign_delta(target, publisher_key(settings).private_bytes_raw())
            (folder / f"{target.name}.sig").write_bytes(signature)
            return target.name
        target = folder / f"{stem}.tar.gz"
        with target.open("wb") as sink:
            packed: Any = Gzipped(sink, level=1)  # the base is compressed already, and vectors hardly shrink
            write_archive(layout, version.image, reference(version), packed)
            packed.close()
        return target.name


def fetch(settings: Settings, version: Version, layout: Path) -> None:
    """Bring a version's blobs from the archive into a layout and name the image there.

    Raises:
        VerifyFailed: a blob in the archive is damaged.
    """
    vault = open_vault(settings, version.customer)
    for digest in version.blobs:
        target = oci.blob_path(layout, digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.is_file():
            vault.fetch(blob_key(digest), target)
            oci.refuse_damaged(layout, digest)
    oci.name_image(layout, version.image, reference(version))


def reference(version: Version) -> str:
    """Return the name under which the customer's engine knows the image."""
    return f"localhost/cradle/{version.customer}:{version.version}"


def _credentials(customer: str, recipient: str | None, folder: Path) -> None:
    """Write the first keys: hashed for the container, whole for the customer's eyes alone."""
    if recipient is None:
        raise ConfigError(
            f"the first credentials of {customer} are encrypted to the customer's age key. Give it with --recipient "
            f"age1…, or as operation.age_recipient in the YAML. The customer makes one with `age-keygen`."
        )
    try:
        to = pyrage.x25519.Recipient.from_str(recipient)
    except pyrage.RecipientError as error:
        raise ConfigError(f"{recipient!r} is no age public key: {error}. It begins with age1.") from error
    made = {role: new_key(role) for role in ROLES}
    write_keys(folder, [record for _, record in made.values()])
    (folder / FILE).chmod(0o644)  # hashes alone, and the container's user must read it
    lines = [f"First keys of {customer}. Replace them with your own: see INSTALL.html.", ""]
    lines += [f"{role}: {key}" for role, (key, _) in made.items()]
    (folder / "credentials.age").write_bytes(pyrage.encrypt("\n".join([*lines, ""]).encode(), [to]))


def _texts(settings: Settings, version: Version, before: Version | None, archive: str, folder: Path) -> None:
    pages = Environment(
        loader=PackageLoader("cradle.delivery"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
    )
    facts = {
        "version": version,
        "before": before,
        "archive": archive,
        "reference": reference(version),
        "api": version.port_base + names.API,
        "dashboards": version.port_base + names.DASHBOARDS,
        "title": load_customer(settings.customers, version.customer).operation.title or version.customer,
        "fingerprint": fingerprint(publisher_key(settings).public_key().public_bytes_raw()),
        "size": (folder / archive).stat().st_size,
    }
    for name in ("compose.yaml", "env.example", "INSTALL.html"):
        (folder / name).write_text(pages.get_template(name).render(facts), encoding="utf-8")


def _sums(folder: Path) -> None:
    files = sorted(path for path in folder.iterdir() if path.name != SUMS)
    text = "".join(f"{file_sha256(path)}  {path.name}\n" for path in files)
    (folder / SUMS).write_text(text, encoding="utf-8")


def _describe(settings: Settings, version: Version, before: Version | None, archive: str, folder: Path) -> Package:
    return Package(
        customer=version.customer,
        version=version.version,
        release_id=version.release_id,
        image=version.image,
        folder=folder,
        archive=archive,
        delta_from=before.version if before else None,
        bytes=(folder / archive).stat().st_size,
        fingerprint=fingerprint(publisher_key(settings).public_key().public_bytes_raw()),
        ports={"api": version.port_base + names.API, "dashboards": version.port_base + names.DASHBOARDS},
    )
