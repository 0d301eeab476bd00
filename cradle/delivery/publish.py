"""The verb `publish`: a verified image → the customer's write-once archive → a registry, when one is configured.

The blobs come first; the signed statement under its version is the one act that publishes.
Run:  cradle publish demo
"""

from __future__ import annotations

import base64
import json
from datetime import date
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, ConfigDict

from cradle import oci, releases
from cradle.bake.image import layout_of
from cradle.bake.report import report_path
from cradle.bake.unpack import images
from cradle.bake.verify import VerifyResult
from cradle.catalog import open_lake
from cradle.config import Settings
from cradle.delivery.registry import Pushed, push
from cradle.delivery.vault import Vault, open_vault
from cradle.digest import file_sha256
from cradle.errors import MissingStep, VerifyFailed
from cradle.manifest import FILE
from cradle.outcomes import outcome
from cradle.points import point
from cradle.releases import Release
from cradle.secrets import ANY, OPERATOR, has_secret, read_secret, write_secret
from cradle.signed import fingerprint, read_signed, sign

FIRST: Final = "v1.0-init"
KEY: Final = "publisher"


class PublishResult(BaseModel):
    """A published image; `published` tells whether this call did it."""

    model_config = ConfigDict(frozen=True)

    customer: str
    release_id: str
    version: str
    digest: str
    fingerprint: str
    published: bool
    blobs: int
    bytes: int
    pushed: Pushed | None


class Version(BaseModel):
    """What a signed statement in the archive says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    version: str
    customer: str
    environment: str
    release_id: str
    logical_date: date
    content_digest: str
    image: str
    base: str
    port_base: int
    manifest_sha256: str
    blobs: dict[str, int]

    @property
    def short_id(self) -> str:
        """The part of the release id that people see."""
        return self.release_id[: releases.SHORT]


def publish(
    settings: Settings,
    customer: str,
    logical_date: date | None = None,
    *,
    release_id: str | None = None,
    unstarted: bool = False,
) -> PublishResult:
    """Publish the image of a release: the one named, else the newest of a date, else the current one.

    Args:
        unstarted: also when no engine was there to start it.

    Raises:
        MissingStep: the image was not verified, or not by starting it.
        VerifyFailed: a blob in the layout or in the archive is not what it was.
    """
    with outcome(settings, customer, "publish", logical_date) as noted:
        lake = open_lake(settings, customer)
        release = releases.find(lake, release_id=release_id, logical_date=logical_date)
        layout = layout_of(settings, customer)
        image = _verified(settings, customer, release, layout, unstarted)
        vault = open_vault(settings, customer)
        sent = _keep_blobs(vault, layout, image)
        version, fresh = _commit(settings, vault, release, layout, image)
        tags = (release.short_id, version.version)
        pushed = push(settings, layout, image, customer.replace("_", "-"), tags) if settings.registry else None
        releases.record_image_event(lake, release.release_id, "published", image, sum(version.blobs.values()), [])
        noted.counts = {"blobs": len(sent), "bytes": sum(sent.values()), "published": fresh}
        noted.outputs = {"version": version.version, "digest": image}
        return _result(settings, version, fresh, sent, pushed)


def _result(
    settings: Settings, version: Version, fresh: bool, sent: dict[str, int], pushed: Pushed | None
) -> PublishResult:
    return PublishResult(
        customer=version.customer,
        release_id=version.release_id,
        version=version.version,
        digest=version.image,
        fingerprint=fingerprint(publisher_key(settings).public_key().public_bytes_raw()),
        published=fresh,
        blobs=len(sent),
        bytes=sum(sent.values()),
        pushed=pushed,
    )


def versions(settings: Settings, customer: str, environment: str | None = None) -> list[Version]:
    """Return what was published, oldest first; every signature is checked.

    Raises:
        VerifyFailed: a statement was not signed by this factory.
    """
    vault, prefix = open_vault(settings, customer), _prefix(environment or settings.environment)
    keys = vault.keys(prefix)
    if not keys:
        return []
    trusted = publisher_key(settings).public_key().public_bytes_raw()
    found = [Version(**read_signed(vault.read(key), key, trusted)[0]) for key in keys]
    return sorted(found, key=lambda one: _number(one.version))


def signed_statement(settings: Settings, version: Version) -> bytes:
    """Return the signed statement of a version as it stands in the archive."""
    return open_vault(settings, version.customer).read(f"{_prefix(version.environment)}{version.version}.json")


def publisher_key(settings: Settings) -> Ed25519PrivateKey:
    """Return the factory's signing key; it is made at the first use."""
    if not has_secret(settings, OPERATOR, ANY, KEY):
        made = base64.b64encode(Ed25519PrivateKey.generate().private_bytes_raw()).decode()
        write_secret(settings, OPERATOR, ANY, KEY, {"private_key": made}, replace=False)
    kept = read_secret(settings, OPERATOR, ANY, KEY)["private_key"]
    return Ed25519PrivateKey.from_private_bytes(base64.b64decode(kept))


def _verified(settings: Settings, customer: str, release: Release, layout: Path, unstarted: bool) -> str:
    image = images(layout).get(f"{customer}:{release.short_id}")
    path = report_path(settings, customer, image) if image else None
    if image is None or path is None or not path.is_file():
        verb = "verify" if image else "bake"
        raise MissingStep(f"release {release.short_id} of {customer} is not verified. Run `cradle {verb} {customer}`.")
    report = VerifyResult.model_validate_json(path.read_bytes())
    if not report.verified:
        failed = ", ".join(check.name for check in report.checks if not check.ok)
        raise VerifyFailed(f"image {image} of {customer} is not published: {failed} failed. See `cradle verify`.")
    if not report.container.ran and not unstarted:
        raise MissingStep(
            f"image {image} of {customer} was never started: {report.container.reason}. Verify it where an engine "
            f"answers, or publish it as it is with --unstarted."
        )
    return image


def _keep_blobs(vault: Vault, layout: Path, image: str) -> dict[str, int]:
    """Put what the archive lacks; return digest → size of it."""
    sent = {}
    for entry in oci.blobs_of(layout, image):
        digest, path = entry["digest"], oci.blob_path(layout, entry["digest"])
        known = vault.size(blob_key(digest))
        if known is None:
            if file_sha256(path) != digest.removeprefix("sha256:"):
                raise VerifyFailed(
                    f"blob {digest} in {layout} was damaged since it was verified. Bake and verify again."
                )
            point("publish.blob")
            if vault.put(blob_key(digest), path):
                sent[digest] = entry["size"]
        elif known != entry["size"]:
            raise VerifyFailed(f"archive: blob {digest} has {known} bytes where {entry['size']} are promised.")
    return sent


def _commit(settings: Settings, vault: Vault, release: Release, layout: Path, image: str) -> tuple[Version, bool]:
    """Return (the version, whether this call wrote it); two at once get two numbers, or one and the same image."""
    while True:
        known = versions(settings, release.customer)
        same = next((one for one in known if one.image == image), None)
        if same:
            return same, False
        number = _number(known[-1].version) + 1 if known else 0
        version = _describe(release, layout, image, FIRST if number == 0 else f"v1.{number}")
        data = sign(publisher_key(settings).private_bytes_raw(), version.model_dump(mode="json"))
        point("publish.before")
        if vault.put_bytes(f"{_prefix(release.environment)}{version.version}.json", data):
            point("publish.after")
            return version, True


def _describe(release: Release, layout: Path, image: str, version: str) -> Version:
    manifest: dict[str, Any] = oci.get_json(layout, image)
    promised = oci.file_of(layout, manifest, "manifest", FILE)
    found = json.loads(promised)
    return Version(
        version=version,
        customer=release.customer,
        environment=release.environment,
        release_id=release.release_id,
        logical_date=found["logical_date"],
        content_digest=release.content_digest,
        image=image,
        base=found["base"] or "",
        port_base=found["port_base"],
        manifest_sha256=oci.sha256(promised),
        blobs={entry["digest"]: entry["size"] for entry in oci.blobs_of(layout, image)},
    )


def blob_key(digest: str) -> str:
    """Return where a blob lies in the archive."""
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _prefix(environment: str) -> str:
    return f"{environment}/versions/"


def _number(version: str) -> int:
    return int(version.removeprefix("v1.").removesuffix("-init"))
