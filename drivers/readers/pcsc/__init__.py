"""Card readers over PC/SC: contactless readers on USB with pcscd, by pyscard."""
