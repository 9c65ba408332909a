"""A small certificate authority for tests."""

import datetime
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from gate import config

SERVER = "station.test"


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its key, PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs certificates."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def identity(self, *, unit: str = "", uri: str = "", host: str = "", days: tuple[int, int] = (-1, 1)) -> Identity:
        """A certificate with these names, for a server or a client; `days` from now it begins and ends."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name("peer", unit), self.certificate.subject, key.public_key(), days)
        names = [x509.UniformResourceIdentifier(uri)] if uri else []
        hosts = [x509.DNSName(host)] if host else []
        if names or hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName([*names, *hosts]), critical=False)
        pem = builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)
        return Identity(pem, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


@cache
def authority(name: str = "clients of the station") -> Authority:
    """The authority of this name."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(name), _name(name), key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return Authority(builder.sign(key, hashes.SHA256()), key)


def _name(common: str, unit: str = "") -> x509.Name:
    units = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit)] if unit else []
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common), *units])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: tuple[int, int] = (-1, 1)
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    begins, ends = (now + datetime.timedelta(days=day) for day in days)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    return builder.serial_number(x509.random_serial_number()).not_valid_before(begins).not_valid_after(ends)


def station_tls(folder: Path) -> config.Tls:
    """The station's own files, written to `folder`."""
    identity = authority().identity(host=SERVER)
    files = {"station.crt": identity.certificate, "station.key": identity.key, "clients.pem": authority().pem}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return config.Tls(*(folder / name for name in files))


def channel(address: str, identity: Identity | None) -> grpc.aio.Channel:
    """A TLS channel to a station on this machine."""
    credentials = grpc.ssl_channel_credentials(
        authority().pem, identity.key if identity else None, identity.certificate if identity else None
    )
    port = address.rpartition(":")[2]
    options = (("grpc.ssl_target_name_override", SERVER),)
    return grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options=options)
