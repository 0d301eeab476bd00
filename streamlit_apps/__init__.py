"""Dashboards over one pinned release; they read the files of its image and write nothing."""
