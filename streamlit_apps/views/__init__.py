"""One module per page of the dashboards."""
