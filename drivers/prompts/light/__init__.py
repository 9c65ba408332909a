"""Lamps and a buzzer behind a relay board."""
