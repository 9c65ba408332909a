"""Serial and USB-CDC QR engines that send a line per code."""
