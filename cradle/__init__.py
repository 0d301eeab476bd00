"""Cradle: a customer lakehouse factory that ends in one verified image per customer."""

__version__ = "0.1.0"
