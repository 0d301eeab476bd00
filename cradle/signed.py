"""Signed statements: who published an image, and what exactly. ed25519 (RFC 8032), keys as 32 raw bytes.

The private key stays in the factory; the public one travels with the statement, and people compare its fingerprint
over a second channel.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from cradle.errors import VerifyFailed


def sign(private_key: bytes, statement: dict[str, Any]) -> bytes:
    """Return a statement with its signature, as JSON; the same input gives the same bytes."""
    key = Ed25519PrivateKey.from_private_bytes(private_key)
    said = json.dumps(statement, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    parts = {"statement": said, "public_key": key.public_key().public_bytes_raw(), "signature": key.sign(said)}
    return json.dumps({name: base64.b64encode(part).decode() for name, part in parts.items()}, indent=1).encode()


def read_signed(data: bytes, name: str, public_key: bytes | None = None) -> tuple[dict[str, Any], bytes]:
    """Return (statement, public key) of a signed statement.

    Args:
        name: how errors call it.
        public_key: the only publisher that is trusted; none: whoever signed it, for people to compare.

    Raises:
        VerifyFailed: the signature is wrong, or another publisher's.
    """
    try:
        signed = {key: base64.b64decode(value, validate=True) for key, value in json.loads(data).items()}
        Ed25519PublicKey.from_public_bytes(signed["public_key"]).verify(signed["signature"], signed["statement"])
        statement: dict[str, Any] = json.loads(signed["statement"])
    except (ValueError, KeyError, TypeError, AttributeError, InvalidSignature) as error:
        raise VerifyFailed(
            f"{name}: the publisher's signature is wrong ({type(error).__name__}). Fetch it again, and compare the "
            f"fingerprint with the publisher's."
        ) from error
    if public_key is not None and signed["public_key"] != public_key:
        raise VerifyFailed(
            f"{name} was signed by another publisher: {fingerprint(signed['public_key'])} instead of "
            f"{fingerprint(public_key)}."
        )
    return statement, signed["public_key"]


def fingerprint(public_key: bytes) -> str:
    """Return what people compare: 160 bits of the key's SHA-256, in groups of four."""
    text = hashlib.sha256(public_key).hexdigest()[:40]
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))
