"""The hardware of a lane: readers, scanners, turnstiles. Never imports `gate`, which knows only `contract`."""
