"""Serial voice modules that play numbered tracks."""
