"""Measurements: `make bench`. Never asserted in tests; every figure says how it was made."""
