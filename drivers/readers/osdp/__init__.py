"""OSDP readers by libosdp."""
