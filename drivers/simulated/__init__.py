"""Programs that speak the devices' own frames over a real port, with fault knobs. Peers on the wire, no mocks."""
