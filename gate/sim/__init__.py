"""The demonstration: made-up people on simulated devices."""
