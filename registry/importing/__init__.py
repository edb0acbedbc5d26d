"""Bringing models in from another registry; see README.md for the rules."""
