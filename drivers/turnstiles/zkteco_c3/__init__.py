"""Turnstiles behind a ZKTeco C3 or inBio panel."""
