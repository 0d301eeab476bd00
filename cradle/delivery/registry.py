"""Pushes an image to a registry; a blob that is there already is not sent.

Format: the OCI distribution specification, through oras.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import oras.provider
import requests
from pydantic import BaseModel, ConfigDict

from cradle import oci
from cradle.config import Settings
from cradle.errors import ConfigError, Unavailable
from cradle.secrets import ANY, OPERATOR, has_secret, read_secret


class Pushed(BaseModel):
    """What a push sent; `reference` names the image by its digest."""

    model_config = ConfigDict(frozen=True)

    reference: str
    tags: tuple[str, ...]
    blobs: int
    bytes: int


def push(settings: Settings, layout: Path, image: str, repository: str, tags: tuple[str, ...]) -> Pushed:
    """Push an image of a layout as `<CRADLE_REGISTRY>/<repository>` under some tags.

    Raises:
        ConfigError: there is no registry in the settings.
        Unavailable: the registry does not answer, or refuses a blob.
    """
    if settings.registry is None:
        raise ConfigError("no registry is configured. Set CRADLE_REGISTRY=host[:port][/prefix], or leave --push out.")
    host, _, prefix = settings.registry.partition("/")
    name = f"{host}/{prefix + '/' if prefix else ''}{repository}"
    client = _client(settings, host)
    blobs = size = 0
    _, *entries = oci.blobs_of(layout, image)
    try:
        for entry in entries:
            if not client.blob_exists(entry, client.get_container(name)):
                answer = client.upload_blob(str(oci.blob_path(layout, entry["digest"])), name, entry)
                _refuse(answer, f"blob {entry['digest']}", name)
                blobs, size = blobs + 1, size + entry["size"]
        # The manifest's own bytes: written anew as JSON it would have another digest.
        data = oci.blob_path(layout, image).read_bytes()
        for tag in tags:
            url = f"{client.prefix}://{client.get_container(f'{name}:{tag}').manifest_url()}"
            _refuse(client.do_request(url, "PUT", data=data, headers={"Content-Type": oci.MANIFEST_TYPE}), tag, name)
    except requests.RequestException as error:
        raise Unavailable(
            f"registry {host} does not answer: {error}. Check CRADLE_REGISTRY, then publish again."
        ) from error
    return Pushed(reference=f"{name}@{image}", tags=tags, blobs=blobs, bytes=size)


def _client(settings: Settings, host: str) -> Any:
    local = host.split(":")[0] in ("localhost", "127.0.0.1")
    client = oras.provider.Registry(hostname=host, insecure=local, auth_backend="basic" if local else "token")
    if has_secret(settings, OPERATOR, ANY, "registry"):
        login = read_secret(settings, OPERATOR, ANY, "registry")
        client.auth.set_basic_auth(login["user"], login["password"])
    return client


def _refuse(answer: requests.Response, what: str, name: str) -> None:
    if answer.status_code not in (200, 201, 202):
        raise Unavailable(f"registry refuses {what} of {name}: {answer.status_code} {answer.text[:200]}")
