"""QR and barcode scanners."""
