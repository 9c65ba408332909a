"""Wave files played by ALSA."""
