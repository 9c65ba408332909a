"""The agent's way to its controller: whom it trusts, and who it is to it."""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio

from gate.tomltable import ConfigError

_CONTROLLER = re.compile(r"unix:.+|(?:[\w.-]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}")
_OPTIONS = (
    ("grpc.enable_http_proxy", 0),  # a proxy for the web, as the environment may name one, knows nothing of a station
    ("grpc.use_local_subchannel_pool", 1),  # every attempt connects anew: grpc's own back-off grows to minutes
)


@dataclass(frozen=True, slots=True)
class Link:
    """Where the controller is. PEM files: whom it must be, and the certificate with the role `lane` and its key."""

    controller: str  # HOST:PORT or unix:PATH
    ca: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None

    def check(self) -> None:
        """Raises ConfigError when personal data would cross a network in the clear, or files are missing."""
        if not _CONTROLLER.fullmatch(self.controller):
            raise ConfigError("--controller", f"is {self.controller!r}: must be HOST:PORT or unix:PATH of a socket")
        given = [self.ca, self.certificate, self.private_key]
        if None in given and any(given):
            raise ConfigError("--ca", "--certificate and --key go together: give all three, or none")
        if self.ca is None and not _stays_here(self.controller):
            raise ConfigError("--controller", f"{self.controller} is not loopback: give --ca, --certificate and --key")
        if self.ca is not None and self.controller.startswith("unix:"):
            raise ConfigError("--ca", "a socket needs none: leave out --ca, --certificate and --key")
        self._read()

    def channel(self) -> grpc.aio.Channel:
        """A new connection. Raises ConfigError when a file cannot be read."""
        files = self._read()
        if not files:
            return grpc.aio.insecure_channel(self.controller, options=_OPTIONS)
        ca, certificate, key = files
        credentials = grpc.ssl_channel_credentials(ca, key, certificate)
        return grpc.aio.secure_channel(self.controller, credentials, options=_OPTIONS)

    def _read(self) -> list[bytes]:
        """Read each time: a renewed certificate counts from the next connection on."""
        found = []
        for option, path in (("--ca", self.ca), ("--certificate", self.certificate), ("--key", self.private_key)):
            if path is None:
                continue
            try:
                found.append(path.read_bytes())
            except OSError as error:
                raise ConfigError(option, f"{path}: {error.strerror}: give a PEM file") from error
        return found


def _stays_here(controller: str) -> bool:
    if controller.startswith("unix:"):
        return True
    host = controller.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
