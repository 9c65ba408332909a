"""Zebra scanners that speak packets of the Simple Serial Interface."""
