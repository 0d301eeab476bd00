"""What an installed image does with a delta: checks who sent it, rebuilds the next image, makes the layout loadable."""

from __future__ import annotations

from pathlib import Path

from cradle import oci
from cradle.delivery.apply import apply_delta
from cradle.delivery.layout import index_entries, ref_of
from cradle.errors import VerifyFailed
from cradle.signed import read_signed


def apply(delta: Path, layout: Path, statement: Path, trust: Path | None = None) -> tuple[str, str]:
    """Turn the image of a layout into the delta's target; return its digest and its name.

    Args:
        statement: the package's signature.json; the delta's own signature lies beside the delta, with `.sig`.
        trust: the signature.json that is installed: the publisher must be the same; none: people compare fingerprints.

    Raises:
        VerifyFailed: a signature is wrong, the base is another or damaged, or the result is not what was signed.
    """
    known = read_signed(_read(trust), trust.name)[1] if trust else None
    said, key = read_signed(_read(statement), statement.name, known)
    signature, expected = delta.with_name(f"{delta.name}.sig"), str(said.get("image"))
    image = apply_delta(delta, layout, public_key=key, signature=signature, expected=expected)
    name = next(ref_of(entry) for entry in index_entries(layout) if entry["digest"] == image)
    oci.replace_file(layout / "manifest.json", oci.docker_list(oci.get_json(layout, image), name))
    return image, name


def _read(statement: Path) -> bytes:
    try:
        return statement.read_bytes()
    except OSError as error:
        raise VerifyFailed(f"{statement} can't be read: {error.strerror}. Give a package's signature.json.") from error
