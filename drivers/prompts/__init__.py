"""Voices and lamps."""
