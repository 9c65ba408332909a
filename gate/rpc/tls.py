"""The station's own certificate for gRPC: read, checked, and made into what grpc takes."""

from pathlib import Path

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gate import config


def server_credentials(tls: config.Tls) -> grpc.ServerCredentials:
    """Mutual TLS with these files. Raises ConfigError: grpc itself only says that it cannot listen."""
    certificate = _certificates(tls.certificate, "certificate")[0]
    _certificates(tls.client_ca, "client_ca")
    try:
        key = load_pem_private_key(tls.private_key.read_bytes(), None)
    except OSError as error:
        raise config.ConfigError("grpc.tls.private_key", f"{tls.private_key}: {error.strerror}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        text = f"{tls.private_key} holds no PEM key without a password: export it so"
        raise config.ConfigError("grpc.tls.private_key", text) from error
    if key.public_key() != certificate.public_key():
        text = f"{tls.private_key} does not belong to {tls.certificate}: give the key it was made with"
        raise config.ConfigError("grpc.tls.private_key", text)
    return grpc.ssl_server_credentials(
        [(tls.private_key.read_bytes(), tls.certificate.read_bytes())],
        root_certificates=tls.client_ca.read_bytes(),
        require_client_auth=True,
    )


def _certificates(path: Path, key: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise config.ConfigError(f"grpc.tls.{key}", f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise config.ConfigError(f"grpc.tls.{key}", f"{path} holds no PEM certificate: give one") from error
