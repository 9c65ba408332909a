"""Lamps: from whatever the board shows, the writes lead to the one lamp of the sign, and never to two at once."""

from drivers.contract import Sign
from drivers.prompts.light import codec
from drivers.prompts.light.codec import Lamps

REACHES = codec


def fuzz(data: bytes) -> None:
    data = data.ljust(8, b"\1")
    settings: dict[str, str | int | float | bool] = {
        "green_coil": data[0],
        "amber_coil": data[1],
        "red_coil": data[2],
        "buzzer_coil": data[3],
        "buzzer": bool(data[4] & 1),
        "pulse_base": 512,
        "buzz_ms": 100 + data[5],
        "on_value": 0xFF00,
    }
    try:
        lamps = Lamps.of(settings)
    except ValueError:
        relays = list(data[: 4 if data[4] & 1 else 3])
        assert len(set(relays)) < len(relays)
        _shown(Lamps.of({**settings, "green_coil": 3, "amber_coil": 1, "red_coil": 2, "buzzer_coil": 0}), data)
        return
    _shown(lamps, data)


def _shown(lamps: Lamps, data: bytes) -> None:
    first, count = lamps.span
    bits = [bool(data[at % len(data)] >> at % 8 & 1) for at in range(count)]
    for sign in Sign:
        now = list(bits)
        for relay, on in lamps.wrong(sign, bits):
            now[relay - first] = on
            if on:
                assert [shown for shown, lamp in lamps.lamps.items() if now[lamp - first]] == [sign]
            assert lamps.value(on) == (0xFF00 if on else 0)
        assert {shown for shown, lamp in lamps.lamps.items() if now[lamp - first]} <= {sign}
        assert sign not in lamps.lamps or now[lamps.lamps[sign] - first]
        pulse = lamps.buzz(sign)
        assert (pulse is not None) == (lamps.buzzer is not None and sign in (Sign.STAFF, Sign.NO))
        assert pulse is None or (pulse[0] == 512 + (lamps.buzzer or 0) and 1 <= pulse[1] <= 30)
