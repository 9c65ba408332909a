"""Programs that speak the devices' own frames over a real port, with knobs for their faults. Peers on the wire, no mocks."""
