"""The station smart-gate service."""

__version__ = "0.1.0"
