"""Stagegate: a model registry whose stage changes can be trusted."""

__version__ = "0.1.0"
