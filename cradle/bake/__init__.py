"""From a release to an image: export, layers, manifest, verification."""

from cradle.bake.image import BakeResult, bake
from cradle.bake.unpack import unpack
from cradle.bake.verify import VerifyResult, verify

__all__ = ["BakeResult", "VerifyResult", "bake", "unpack", "verify"]
