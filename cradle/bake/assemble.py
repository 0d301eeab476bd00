"""Puts an image together: a base, layers above it, configuration and labels; no engine, no root."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path
from typing import Any, Final

from cradle.oci import (
    DATA,
    MANIFEST_TYPE,
    Layer,
    blob_path,
    get_json,
    image_of,
    put_json,
)

CONFIG_TYPE: Final = "application/vnd.oci.image.config.v1+json"


def base_image(base: Path | None, layout: Path) -> tuple[dict[str, Any], dict[str, Any], str | None]:
    """Return (config, manifest, digest) to append to; the base's blobs are linked into the layout, not copied.

    Raises:
        ConfigError: the base layout holds not exactly one image.
    """
    if base is None:
        config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": []}}
        return config, {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "layers": []}, None
    digest = image_of(base)
    manifest = get_json(base, digest)
    for entry in manifest["layers"]:
        target = blob_path(layout, entry["digest"])
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            _link(blob_path(base, entry["digest"]), target)
    return get_json(base, manifest["config"]["digest"]), manifest, digest


def _link(source: Path, target: Path) -> None:
    """Let a blob be in two layouts; copied where the two have no file system in common."""
    with contextlib.suppress(FileExistsError):
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            temporary = target.with_name(f".{target.name}.part")
            shutil.copyfile(source, temporary)
            temporary.replace(target)


def append_layers(
    layout: Path,
    base: Path | None,
    layers: list[Layer],
    *,
    created: str,
    labels: dict[str, str],
    config: dict[str, Any],
    kind: str = DATA,
) -> tuple[str, int]:
    """Write config and manifest of a base plus layers; return the manifest's digest and the size of all blobs.

    Args:
        config: what the container's configuration says beside what the base's says.
        kind: annotation under which each layer carries its name.
    """
    whole, manifest, base_digest = base_image(base, layout)
    whole["created"] = created
    inner = {**(whole.get("config") or {}), **config}
    whole["config"] = {**inner, "Labels": {**(inner.get("Labels") or {}), **labels}}
    whole["rootfs"]["diff_ids"] = [*whole["rootfs"]["diff_ids"], *(layer.diff_id for layer in layers)]
    whole["history"] = [
        *whole.get("history", []),
        *({"created": created, "created_by": f"cradle bake: {layer.name}"} for layer in layers),
    ]
    digest, size = put_json(layout, whole)
    entries = [_entry(layer, kind) for layer in layers]
    annotations = {"org.opencontainers.image.created": created, **labels}
    if base_digest:
        annotations["org.opencontainers.image.base.digest"] = base_digest
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": CONFIG_TYPE, "digest": digest, "size": size},
        "layers": [*manifest["layers"], *entries],
        "annotations": annotations,
    }
    image, image_size = put_json(layout, manifest)
    return image, size + image_size + sum(entry["size"] for entry in manifest["layers"])


def _entry(layer: Layer, kind: str) -> dict[str, Any]:
    annotations = {kind: layer.name}
    return {"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size, "annotations": annotations}
