"""Mach Power electric tripods on RS-485."""
