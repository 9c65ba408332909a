"""PURE: what a passenger presents."""
