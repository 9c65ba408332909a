"""A process of its own for devices whose libraries may crash or hang: cameras, PC/SC readers."""
