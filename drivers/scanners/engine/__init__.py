"""QR engines that take orders and answer them: Newland, Honeywell, GM65 class."""
