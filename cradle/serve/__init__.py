"""What runs in an image: the data API, the dashboards beside it, and their start; needs the extra `serve` alone."""
