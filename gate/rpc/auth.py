"""Who may call what: every method lists its roles, the default is nobody.

A role comes from where a call arrives: a unix socket has one role, guarded by its file's mode and group; a TLS client
has those of its certificate (URI `gate:role:ROLE`, or organisational unit ROLE); plaintext loopback has none, or all
when the configuration trusts it.
"""

import functools
from collections.abc import Callable, Mapping

import grpc
from cryptography import x509
from cryptography.x509.oid import NameOID

from gate.policy.verdict import Reason
from gate.rpc.errors import CallError, Context

ROLES = frozenset({"lane", "ticketing", "operator", "auditor", "feed"})
_URI_PREFIX = "gate:role:"
_LANE_PREFIX = "gate:lane:"

_LOOK = frozenset({"operator", "auditor", "lane"})
_STAFF = frozenset({"operator"})
_HISTORY = frozenset({"operator", "auditor"})
_FEEDS = frozenset({"operator", "auditor", "feed", "ticketing"})
_TICKETS = frozenset({"ticketing"})
ANYBODY = ROLES | {"anybody"}

PERMITTED: Mapping[str, frozenset[str]] = {
    "/gate.v1.StatusService/CheckStatus": _TICKETS,
    "/gate.v1.StatusService/BatchCheckStatus": _TICKETS,
    "/gate.v1.LaneService/ListLanes": _LOOK,
    "/gate.v1.LaneService/GetLane": _LOOK,
    "/gate.v1.LaneService/WatchLanes": _LOOK,
    "/gate.v1.LaneService/SetLaneMode": _STAFF,
    "/gate.v1.LaneService/ReleaseLane": _STAFF,
    "/gate.v1.LaneService/ResetEmergency": _STAFF,
    "/gate.v1.PassageService/ListPassages": _HISTORY,
    "/gate.v1.PassageService/WatchPassages": _HISTORY,
    "/gate.v1.FeedService/ListFeeds": _FEEDS,
    "/gate.v1.FeedService/GetFeed": _FEEDS,
    "/gate.v1.DeviceService/Attach": frozenset({"lane"}),
    "/grpc.health.v1.Health/Check": ANYBODY,
    "/grpc.health.v1.Health/Watch": ANYBODY,
    "/grpc.health.v1.Health/List": ANYBODY,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": ANYBODY,
}

RolesOf = Callable[[Context], frozenset[str]]


def fixed(*roles: str) -> RolesOf:
    """The same roles for every caller of a listener; health and reflection are for anybody."""
    held = frozenset(roles) | {"anybody"}
    return lambda context: held


def from_certificate(context: Context) -> frozenset[str]:
    """The roles of the client's certificate, which the TLS layer has verified."""
    certificates = context.auth_context().get("x509_pem_cert", ())
    return frozenset({"anybody"}).union(*(_roles_in(pem) for pem in certificates))


def lanes_of(context: Context) -> frozenset[str]:
    """The lanes that the client's certificate is for (URI `gate:lane:ID`); empty: for all, or there is none."""
    certificates = context.auth_context().get("x509_pem_cert", ())
    names: frozenset[str] = frozenset().union(*map(_names_in, certificates))
    return frozenset(name.removeprefix(_LANE_PREFIX) for name in names if name.startswith(_LANE_PREFIX))


def _roles_in(pem: bytes) -> frozenset[str]:
    return ROLES & {name.removeprefix(_URI_PREFIX) for name in _names_in(pem)}


@functools.lru_cache(maxsize=256)  # clients of one station, several times over
def _names_in(pem: bytes) -> frozenset[str]:
    """Organisational units and URIs with a prefix of ours."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        units = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
        extensions = certificate.extensions
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return frozenset()  # TLS took it and cryptography cannot read it: then it names no role
    names = {str(unit.value) for unit in units}
    try:
        alternative = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = alternative.get_values_for_type(x509.UniformResourceIdentifier)
        names |= {uri for uri in uris if uri.startswith((_URI_PREFIX, _LANE_PREFIX))}
    except x509.ExtensionNotFound:
        pass  # then only the organisational unit speaks
    return frozenset(names)


def admit(method: str, held: frozenset[str]) -> None:
    """Refuse who holds none of the method's roles; a method that the table lacks is for nobody. Raises CallError."""
    permitted = PERMITTED.get(method, frozenset())
    if not held & permitted:
        named = ", ".join(sorted(permitted)) or "nobody"
        raise CallError(
            grpc.StatusCode.PERMISSION_DENIED,
            Reason.ROLE_NOT_PERMITTED,
            f"{method} is for {named}: use that role's socket or certificate",
            method=method,
            permitted=named,
        )
