"""PURE: what the regions tell us."""
