"""Turnstiles and the boards that release them."""
