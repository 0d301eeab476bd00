"""The bill of materials of the base image: every Debian and every Python package, as CycloneDX JSON.

Source: https://cyclonedx.org/specification/overview/
"""

from __future__ import annotations

import email.parser
import json
import tarfile
from pathlib import Path
from typing import Any, Final

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot5
from packageurl import PackageURL

FILE: Final = "usr/share/cradle/sbom.cdx.json"


def bill_of_materials(rootfs: Path) -> bytes:
    """Return the bill of a root file system's tar; the same tar gives the same bytes."""
    bom = Bom()
    with tarfile.open(rootfs) as tar:
        for entry in tar:
            name = entry.name.removeprefix("./")
            if name == "var/lib/dpkg/status":
                for block in _text(tar, entry).strip().split("\n\n"):
                    _add(bom, "deb", "debian", _fields(block)["Package"], _fields(block)["Version"])
            elif name.endswith(".dist-info/METADATA"):
                found = _fields(_text(tar, entry))
                _add(bom, "pypi", None, found["Name"].lower(), found["Version"])
    content: dict[str, Any] = json.loads(JsonV1Dot5(bom).output_as_string())
    del content["serialNumber"], content["metadata"]["timestamp"]  # of this run, not of the image
    return json.dumps(content, sort_keys=True, indent=1).encode()


def _text(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> str:
    stream = tar.extractfile(entry)
    assert stream is not None
    return stream.read().decode("utf-8", "replace")


def _fields(text: str) -> dict[str, str]:
    return dict(email.parser.HeaderParser().parsestr(text).items())


def _add(bom: Bom, kind: str, namespace: str | None, name: str, version: str) -> None:
    url = PackageURL(type=kind, namespace=namespace, name=name, version=version)
    bom.components.add(Component(name=name, version=version, type=ComponentType.LIBRARY, purl=url, bom_ref=str(url)))
