"""Bringing the feed in, in a process of its own; and the store that lanes read."""
