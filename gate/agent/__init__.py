"""The lane agent: one lane's devices, driven on the lane's own computer for a controller elsewhere."""
