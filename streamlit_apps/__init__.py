"""Dashboards for analysts."""
