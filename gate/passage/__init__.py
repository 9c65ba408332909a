"""PURE: one lane, one person after the other."""
