"""Vectors: Chroma collections in the factory, the flat index in the image.

Nothing is imported here: the image takes `cradle.vectors.flat` and has no Chroma.
"""
