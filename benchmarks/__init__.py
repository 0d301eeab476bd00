"""Measurements: run by hand, part of no test."""
