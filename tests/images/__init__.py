"""Images as containers: built, started, questioned, published, delivered. They need a container engine."""
