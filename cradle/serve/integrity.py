"""Tells whether the files of an image are still those that were baked, and who published them.

At start: the publisher's signature, the size of every file, the bytes of small ones. In the background: the rest.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

from cradle.digest import file_sha256
from cradle.errors import VerifyFailed
from cradle.log import get
from cradle.manifest import FILE, Manifest
from cradle.signed import fingerprint, read_signed

log = get("integrity")
SMALL: Final = 1 << 20  # bytes; files up to this size are read before the first answer


class Integrity:
    """Checks the files of an image; `damage` names the first one that is not as promised."""

    def __init__(self, root: Path, manifest: Manifest) -> None:
        self._root, self._manifest = root, manifest
        self.damage: str | None = None
        self.checked = 0
        self.done = False

    def check_start(self) -> None:
        """Compare the size of every file and the bytes of the small ones; what is wrong is remembered."""
        for path, entry in self._manifest.files.items():
            found = self._root / path
            if not found.is_file():
                self._remember(f"{path} is missing")
            elif found.stat().st_size != entry.bytes:
                self._remember(f"{path} has {found.stat().st_size} bytes where {entry.bytes} are promised")
            elif entry.bytes <= SMALL and file_sha256(found) != entry.sha256:
                self._remember(f"{path} is not the file that was baked")

    def start(self) -> None:
        """Hash the other files in a thread."""
        threading.Thread(target=self.check_rest, name="integrity", daemon=True).start()

    def check_rest(self) -> None:
        """Hash every file that `check_start` left out."""
        for path, entry in self._manifest.files.items():
            if entry.bytes > SMALL:
                try:
                    if file_sha256(self._root / path) != entry.sha256:
                        self._remember(f"{path} is not the file that was baked")
                except OSError as error:
                    self._remember(f"{path} can't be read: {error.strerror}")
            self.checked += 1
        self.done = True
        log.info("files checked", files=self.checked, damage=self.damage)

    def _remember(self, problem: str) -> None:
        log.error("image is damaged", problem=problem)
        self.damage = self.damage or problem


def check_signature(root: Path, signature: Path) -> str:
    """Return the publisher's fingerprint when the signed statement is about this image.

    Args:
        signature: a signed statement, as `cradle publish` writes it.

    Raises:
        VerifyFailed: the signature is wrong, or about other files.
    """
    try:
        data = signature.read_bytes()
    except OSError as error:
        raise VerifyFailed(
            f"{signature} can't be read: {error.strerror}. Mount the package's signature.json."
        ) from error
    statement, key = read_signed(data, signature.name)
    if file_sha256(root / FILE) != statement.get("manifest_sha256"):
        raise VerifyFailed(f"{signature} is about another image: its manifest has another hash than {root / FILE}.")
    return fingerprint(key)
