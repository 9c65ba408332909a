"""Infrared thermometer modules on a serial port."""
