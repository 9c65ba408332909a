"""The hardware of a lane: readers, scanners, turnstiles. Never imports `gate`; `contract` is all the service knows of it."""
