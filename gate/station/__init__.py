"""Running the lanes: clock, devices, journal, metrics."""
