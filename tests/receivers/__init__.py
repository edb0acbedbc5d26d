"""Receivers' documented contracts, as servers that refuse what the real ones do."""
