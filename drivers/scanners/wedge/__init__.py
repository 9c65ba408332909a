"""Scanners that type their codes as a keyboard does."""
