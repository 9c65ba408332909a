"""The gRPC surface: listeners, roles, one servicer file per service."""
