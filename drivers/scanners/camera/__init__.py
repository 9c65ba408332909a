"""Cameras, video and pictures as a code scanner."""
