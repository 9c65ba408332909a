"""Turnstiles behind a UHPPOTE UT0311 controller."""
