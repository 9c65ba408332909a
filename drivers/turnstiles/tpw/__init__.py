"""Turnstiles.us TPW-321ASP swing gates on RS-232, RS-485 or UDP."""
