"""The station's one TOML file as frozen dataclasses. Unknown keys are refused; every error names path and remedy.

Paths in it are relative to the file's folder. Secrets never stand in it: they are files it names.
"""

import grp
import ipaddress
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from gate.issuersettings import ISSUER as ISSUER
from gate.issuersettings import ISSUERS_MAX, IssuerSettings, read_issuer
from gate.lanesettings import ID, check_ports, check_schemes, read_lane
from gate.lanesettings import Device as Device
from gate.lanesettings import Lane as Lane
from gate.places import ADDRESS, PORT_MAX, same_place
from gate.places import checked_place as checked_place
from gate.policysettings import Policy as Policy
from gate.policysettings import read_policy
from gate.tomltable import ConfigError as ConfigError
from gate.tomltable import Table, shown

_Read = TypeVar("_Read")
_REGION = re.compile(r"[0-9]{6}(?:[0-9]{6})?")
LANES_MAX = 200  # twice the largest gate line of operations.md 2.1; a bound for label values and tasks
FILE_BYTES_MAX = 1 << 20  # 200 lanes of 8 devices with every setting have 400 kB
_LISTEN_MAX = 8  # interfaces of one controller
SOCKET_ROLES = ("operator", "ticketing", "auditor", "lane", "feed")


@dataclass(frozen=True, slots=True)
class Tls:
    """Mutual TLS for addresses that are not loopback; PEM files."""

    certificate: Path
    private_key: Path
    client_ca: Path


@dataclass(frozen=True, slots=True)
class Grpc:
    """Where gRPC listens and whom it trusts."""

    listen: tuple[str, ...] = ("127.0.0.1:50051",)
    operator_socket: Path | None = None
    ticketing_socket: Path | None = None
    auditor_socket: Path | None = None
    lane_socket: Path | None = None
    feed_socket: Path | None = None
    trust_loopback: bool = False
    tls: Tls | None = None
    socket_groups: Mapping[str, str] = field(default_factory=dict)  # role -> group of its socket; absent: our own


@dataclass(frozen=True, slots=True)
class Feed:
    """One subscribed issuer: where its feed comes from and which keys and peppers belong to it."""

    issuer: str
    source: str
    public_keys_file: Path
    pepper_file: Path
    ca_file: Path | None = None  # whom an https: or nats: source must be; None: the system's authorities
    certificate: Path | None = None  # who we are to it; None: nobody
    private_key: Path | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """The whole file."""

    station_id: str
    region: str
    data_dir: Path
    languages: tuple[str, ...] = ("zh", "en")
    clock_trust: str = "kernel"
    grpc: Grpc = field(default_factory=Grpc)
    metrics_listen: str = "127.0.0.1:9464"
    console_listen: str = "127.0.0.1:8080"
    journal_keep_days: int = 14
    feeds: tuple[Feed, ...] = ()
    policy: Policy = field(default_factory=Policy)
    lanes: tuple[Lane, ...] = ()
    issuers: tuple[IssuerSettings, ...] = ()


def load(path: Path) -> Config:
    """Read and check `path`. Raises ConfigError."""
    return parse(_text(path), path.absolute().parent, str(path))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
        if len(raw) > FILE_BYTES_MAX:
            raise ConfigError(str(path), f"is larger than {FILE_BYTES_MAX} bytes: give the station's TOML file")
        return raw.decode("utf-8")
    except OSError as error:
        raise ConfigError(str(path), f"{error.strerror}: give the station's TOML file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), f"is not UTF-8 text from byte {error.start}: save it as UTF-8") from error


def parse(text: str, folder: Path, name: str = "station.toml") -> Config:
    """Check the text of a station file whose relative paths start at `folder`. Raises ConfigError."""
    return _parsed(text, folder, name, _config)


def load_lane(path: Path) -> Lane:
    """The one lane of a lane agent's file, as in a station's; its id and devices count. Raises ConfigError."""
    return _parsed(_text(path), path.absolute().parent, str(path), _one_lane)


def _parsed(text: str, folder: Path, name: str, read: Callable[[Table], _Read]) -> _Read:
    try:
        raw = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        why = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise ConfigError(name, f"is not TOML: {why}: correct it there, see the sample in the README") from error
    try:
        return read(Table(raw, "", folder))
    except ConfigError as error:
        raise ConfigError(f"{name}: {error.path}".rstrip(": "), str(error).removeprefix(f"{error.path}: ")) from error


def _one_lane(top: Table) -> Lane:
    if top.get("when_cut_off", str, "hold", ("hold", "decide")) == "decide":
        raise ConfigError("when_cut_off", "is 'decide', which needs a feed here: start the agent with --with-feed")
    lanes = tuple(map(read_lane, top.tables("lane", 1)))
    top.done()
    _own_lane(lanes)
    check_ports(lanes)
    return lanes[0]


def load_deputy(path: Path) -> Config:
    """A lane agent's file that is a small station's, which decides while cut off. Raises ConfigError."""
    return _parsed(_text(path), path.absolute().parent, str(path), _deputy)


def _deputy(top: Table) -> Config:
    top.get("when_cut_off", str, "decide", ("decide",))
    config = _config(top)
    if len(config.lanes) > 1:
        raise ConfigError("lane[1]", "is one too many: an agent drives one lane; start another for it")
    _own_lane(config.lanes)
    return config


def _own_lane(lanes: tuple[Lane, ...]) -> None:
    if not lanes or lanes[0].remote:
        raise ConfigError("lane", "needs one [[lane]] with the id and the devices that hang here, without remote")


def _config(top: Table) -> Config:
    station, clock, journal = top.table("station"), top.table("clock"), top.table("journal")
    metrics, console, policy = top.table("metrics"), top.table("console"), top.table("policy")
    data_dir = station.file("data_dir", must_exist=False)
    assert data_dir is not None  # noqa: S101 - no default was given, so it is never None
    if data_dir.exists() and not data_dir.is_dir():
        raise ConfigError("station.data_dir", f"{data_dir} is not a folder: give one, or a path that is still free")
    config = Config(
        station_id=station.matching("id", ID, "letters, digits, '.', '_' or '-', at most 64"),
        region=station.matching("region", _REGION, "a GB/T 2260 code of 6 or 12 digits")[:6],
        data_dir=data_dir,
        languages=_languages(station),
        clock_trust=clock.get("trust", str, "kernel", ("kernel", "stepped-only")),
        grpc=_grpc(top.table("grpc")),
        metrics_listen=_address(metrics, "listen", "127.0.0.1:9464"),
        console_listen=_console(console),
        journal_keep_days=journal.between("keep_days", 14, 1, 366, "days"),
        feeds=tuple(map(_feed, top.tables("feed", 64))),
        policy=read_policy(policy),
        lanes=tuple(map(read_lane, top.tables("lane", LANES_MAX))),
        issuers=tuple(map(read_issuer, top.tables("issuer", ISSUERS_MAX))),
    )
    for table in (station, clock, journal, metrics, console, policy, top):
        table.done()
    _distinct([feed.issuer for feed in config.feeds], "feed", "issuer")
    _distinct([lane.id for lane in config.lanes], "lane", "id")
    _distinct([issuer.id for issuer in config.issuers], "issuer", "id")
    check_schemes(config.lanes)
    check_ports(config.lanes)
    _distinct_addresses(config)
    return config


def _languages(table: Table) -> tuple[str, ...]:
    languages = table.get("languages", list, ["zh", "en"])
    if not languages or any(language not in ("zh", "en") for language in languages):
        raise ConfigError(table.at("languages"), f"is {shown(languages)}: must name at least one of 'zh', 'en'")
    return tuple(dict.fromkeys(languages))


def _address(table: Table, key: str, default: str) -> str:
    value: str = table.get(key, str, default)
    return _checked_address(value, table.at(key))


def _checked_address(value: str, path: str) -> str:
    if not ADDRESS.fullmatch(value) or int(value.rpartition(":")[2]) > PORT_MAX:
        raise ConfigError(path, f"is {shown(value)}: must be HOST:PORT with a port of 0-65535, an IPv6 host in []")
    return value


def port_of(address: str) -> int:
    """The port of HOST:PORT; 0 lets the system choose."""
    return int(address.rpartition(":")[2])


def is_loopback(address: str) -> bool:
    """Whether HOST:PORT is reachable from this machine only."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _console(table: Table) -> str:
    listen = _address(table, "listen", "127.0.0.1:8080")
    if "tls" in table.raw:
        _files(table.table("tls"), "certificate", "private_key")
    elif not is_loopback(listen):
        raise ConfigError(table.at("listen"), f"{listen} is not loopback: it needs [console.tls], or use 127.0.0.1")
    return listen


def _grpc(table: Table) -> Grpc:
    listen = table.get("listen", list, ["127.0.0.1:50051"])
    if len(listen) > _LISTEN_MAX:
        raise ConfigError(table.at("listen"), f"has {len(listen)} addresses: at most {_LISTEN_MAX}")
    for index, address in enumerate(listen):
        path = f"{table.at('listen')}[{index}]"
        if type(address) is not str:
            raise ConfigError(path, f"is {shown(address)}: must be a string HOST:PORT")
        _checked_address(address, path)
    tls = _tls(table.table("tls")) if "tls" in table.raw else None
    far = [address for address in listen if not is_loopback(address)]
    if far and tls is None:
        raise ConfigError(table.at("listen"), f"{far[0]} is not loopback: it needs [grpc.tls], or use 127.0.0.1")
    sockets = {f"{role}_socket": table.file(f"{role}_socket", False, None) for role in SOCKET_ROLES}
    groups = {role: group for role in SOCKET_ROLES if (group := _group(table, role, sockets))}
    trust = table.get("trust_loopback", bool, False)
    table.done()
    return Grpc(tuple(listen), trust_loopback=trust, tls=tls, socket_groups=groups, **sockets)


def _group(table: Table, role: str, sockets: Mapping[str, Path | None]) -> str:
    """The group of a role's socket, "" for the service's own."""
    group: str = table.get(f"{role}_group", str, "")
    if not group:
        return ""
    if sockets[f"{role}_socket"] is None:
        raise ConfigError(table.at(f"{role}_group"), f"has no socket: give {role}_socket too")
    try:
        grp.getgrnam(group)
    except KeyError:
        raise ConfigError(table.at(f"{role}_group"), f"no group {group!r} here: make it with groupadd") from None
    return group


def _tls(table: Table) -> Tls:
    return Tls(**_files(table, "certificate", "private_key", "client_ca"))


def _files(table: Table, *keys: str) -> dict[str, Path]:
    """Files that must be there, and nothing beside them."""
    files = {key: table.file(key, must_exist=True) for key in keys}
    table.done()
    return {key: path for key, path in files.items() if path is not None}


def _feed(table: Table) -> Feed:
    issuer = table.matching("issuer", ISSUER, "2 to 16 capitals, digits or '_', as the rules name it")
    source = _source(table)
    keys = table.file("public_keys_file", must_exist=True)
    pepper = table.file("pepper_file", must_exist=True)
    tls = {key: table.file(key, must_exist=True, default=None) for key in ("ca_file", "certificate", "private_key")}
    if (tls["certificate"] is None) != (tls["private_key"] is None):
        raise ConfigError(table.at("certificate"), "and private_key go together: give both, or none")
    table.done()
    assert keys is not None  # noqa: S101 - both are required above
    assert pepper is not None  # noqa: S101 - both are required above
    return Feed(issuer, source, keys, pepper, **tls)


_FAR = re.compile(r"https://[^/\s@]+/\S*|(?:nats|tls)://[^/\s@]+/[A-Za-z0-9_-]{1,32}(?:\?snapshots=\S+)?")


def _source(table: Table) -> str:
    """`dir:` with a folder, or an address that `gate/sync/worker.py: open_source` knows."""
    source: str = table.get("source", str)
    scheme, _, rest = source.partition(":")
    if scheme == "dir" and rest:
        folder = table.folder / rest
        if not rest.isprintable() or (folder.exists() and not folder.is_dir()):
            raise ConfigError(table.at("source"), f"{rest!r} is not a folder: give the one that snapshots arrive in")
        return f"dir:{folder}"
    if not _FAR.fullmatch(source):
        raise ConfigError(
            table.at("source"),
            "must be dir:FOLDER, https://HOST/FOLDER/ or nats://HOST:PORT/STREAM, without a login (use a certificate)",
        )
    return source


def _distinct(values: list[str], table: str, key: str) -> None:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise ConfigError(f"{table}[{index}].{key}", f"{value!r} stands twice: each {table} needs its own")


def _distinct_addresses(config: Config) -> None:
    """No two listeners at one place: the second would take a role's socket from the first."""
    listeners = {f"grpc.listen[{index}]": address for index, address in enumerate(config.grpc.listen)}
    listeners |= {"metrics.listen": config.metrics_listen, "console.listen": config.console_listen}
    places = {path: same_place(f"tcp:{address}") for path, address in listeners.items() if port_of(address)}
    for role in SOCKET_ROLES:
        socket: Path | None = getattr(config.grpc, f"{role}_socket")
        if socket is not None:
            places[f"grpc.{role}_socket"] = os.path.realpath(socket)
    seen: dict[str, str] = {}
    for path, place in places.items():
        if place in seen:
            raise ConfigError(path, f"is the place of {seen[place]} too: give each listener its own")
        seen[place] = path
