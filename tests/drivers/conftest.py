"""A cable that can be cut: a network namespace behind a pair of virtual ones."""

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

SPACE = f"gate{os.getpid()}"
NEAR, FAR = f"gn{os.getpid()}", f"gf{os.getpid()}"
NET = f"10.{77 + os.getpid() % 100}.0"


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture
def link() -> Iterator[None]:
    """A network namespace behind a pair of virtual cables."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("needs root and iproute2: this check may not be left out in CI")
        pytest.skip("needs root and iproute2 for a network namespace")
    ip("netns", "add", SPACE)
    try:
        ip("link", "add", NEAR, "type", "veth", "peer", "name", FAR)
        ip("link", "set", FAR, "netns", SPACE)
        ip("addr", "add", f"{NET}.1/24", "dev", NEAR)
        ip("link", "set", NEAR, "up")
        ip("netns", "exec", SPACE, "ip", "addr", "add", f"{NET}.2/24", "dev", FAR)
        ip("netns", "exec", SPACE, "ip", "link", "set", FAR, "up")
        yield
    finally:
        subprocess.run(["ip", "link", "del", NEAR], check=False, capture_output=True)
        ip("netns", "del", SPACE)
