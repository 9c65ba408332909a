"""Digicon Tx1500 and CATRAX turnstiles on their serial port."""
