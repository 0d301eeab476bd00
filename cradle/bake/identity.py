"""What an image says of itself, compared with itself: names, labels and digests that follow from each other.

A release's id is a hash over its content digest, that one over the digests of its tables and of its collection.
So nobody changes one of them, or the parameters, without changing the id.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cradle import names, oci
from cradle.digest import content_digest_of, release_id_of
from cradle.errors import VerifyFailed
from cradle.manifest import Manifest


def check_index(layout: Path) -> str:
    """Compare a layout's index with the images that it names.

    Raises:
        VerifyFailed: it says something else of an image than the image itself.
    """
    path = layout / "index.json"
    if not path.is_file():
        return "not there"
    if (layout / "oci-layout").read_bytes() != oci.LAYOUT:
        raise VerifyFailed("oci-layout is damaged")
    try:
        index = json.loads(path.read_bytes())
        named = {one["digest"]: _name_of(layout, one["digest"]) for one in index["manifests"]}
    except (ValueError, KeyError, TypeError, VerifyFailed) as error:
        raise VerifyFailed(f"index.json is damaged: {error}") from error
    if index != oci.index_of([oci.index_entry(layout, digest, name) for digest, name in named.items()]):
        raise VerifyFailed(f"index.json is damaged: the images that it names are {', '.join(named.values())}")
    return ", ".join(named.values()) or "no images"


def _name_of(layout: Path, digest: str) -> str:
    annotations: dict[str, str] = oci.get_json(layout, digest)["annotations"]
    return f"{annotations['org.opencontainers.image.title']}:{annotations['org.opencontainers.image.version']}"


def check_identity(layout: Path, digest: str, manifest: Manifest) -> str:
    """Recompute the content digest and the release id, and compare all places that repeat them.

    Raises:
        VerifyFailed: one does not follow from the others; it is named.
    """
    vectors, encoder = manifest.vectors, manifest.encoder
    content = content_digest_of(
        {name: table.content_digest for name, table in manifest.tables.items()},
        vectors.collection_digest if vectors else None,
        encoder.model_key if encoder else None,
    )
    if content != manifest.content_digest:
        raise VerifyFailed(
            f"content digest {manifest.content_digest[:12]} does not follow from the digests of the tables, the "
            f"collection and the model key; they give {content[:12]}"
        )
    release_id = release_id_of(content, manifest.epoch, manifest.params_hash)
    if release_id != manifest.release_id:
        raise VerifyFailed(
            f"release id {manifest.release_id[:12]} does not follow from content digest, epoch {manifest.epoch} and "
            f"parameters hash {manifest.params_hash[:12]}; they give {release_id[:12]}"
        )
    _labels(layout, digest, manifest)
    return f"release {release_id[:12]}"


def _labels(layout: Path, digest: str, manifest: Manifest) -> None:
    image = oci.get_json(layout, digest)
    config = oci.get_json(layout, image["config"]["digest"])
    expected = {
        "org.opencontainers.image.title": manifest.customer,
        "cradle.customer": manifest.customer,
        "cradle.release": manifest.release_id,
        "cradle.content-digest": manifest.content_digest,
        "cradle.params-hash": manifest.params_hash,
        "cradle.epoch": str(manifest.epoch),
        "org.opencontainers.image.base.digest": manifest.base,
    }
    for labels in (image.get("annotations", {}), config["config"].get("Labels") or {}):
        for name, value in expected.items():
            if labels.get(name, value) != value:
                raise VerifyFailed(f"label {name} of the image says {labels[name]!r}, its manifest {value!r}")
    wanted = {f"{manifest.port_base + above}/tcp" for above in (names.API, names.DASHBOARDS)}
    ports = set(config["config"].get("ExposedPorts", wanted))
    if not ports >= wanted:
        raise VerifyFailed(f"the image opens the ports {', '.join(sorted(ports))}, its manifest means {wanted}")
    _layers(image, config, manifest)


def _layers(image: dict[str, Any], config: dict[str, Any], manifest: Manifest) -> None:
    """Refuse a layer that hides: an engine lays it over the data, and no check would look into it."""
    names = [entry.get("annotations", {}).get(oci.DATA) for entry in image["layers"]]
    first = next((at for at, name in enumerate(names) if name), len(names))
    if None in names[first:] or (manifest.base is None and first):
        hidden = names.index(None, first) if None in names[first:] else 0
        raise VerifyFailed(f"layer {image['layers'][hidden]['digest']} is neither of the base nor of the release")
    diff_ids = config["rootfs"]["diff_ids"]
    plain = [
        entry["digest"] == diff_id
        for entry, diff_id in zip(image["layers"], diff_ids, strict=True)
        if not entry["mediaType"].endswith("gzip")
    ]
    if not all(plain):
        raise VerifyFailed("the image's configuration names other layers than its manifest")
