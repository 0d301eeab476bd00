"""What leaves the factory: the archive, the registry, packages and deltas, and their trial."""
