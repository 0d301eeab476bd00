"""Words of texts: how a text becomes terms, and the inverted index over them that lies in an image."""
