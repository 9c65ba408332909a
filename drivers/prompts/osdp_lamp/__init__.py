"""Lamp and buzzer of an OSDP reader."""
