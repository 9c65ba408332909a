"""Turnstiles behind a Modbus relay board."""
