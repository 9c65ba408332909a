"""Issue 5's soak: 48 lanes of mixed simulated devices, 50 passages a second, devices failing at random."""
