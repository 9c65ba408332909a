"""Thermometers before which passengers stand."""
