"""The lane agent: through a real gRPC server, a wire that can be cut, and simulated devices on real ports."""
