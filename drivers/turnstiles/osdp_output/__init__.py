"""A turnstile on the outputs and inputs of an OSDP device."""
