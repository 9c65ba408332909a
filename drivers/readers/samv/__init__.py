"""The SAM_V resident-card reader."""
