"""A lamp of any number: every command fits its bytes, every sign ends by itself, and no two look or sound alike."""

from drivers.contract import Sign
from drivers.prompts.osdp_lamp import codec
from drivers.prompts.osdp_lamp.codec import COLOURS, Lamp

REACHES = codec


def fuzz(data: bytes) -> None:
    first, second = (data + b"\0\0")[:2]
    ready = sorted(COLOURS)[first % len(COLOURS)]
    lamp = Lamp.of({"reader_number": first, "led_number": second, "ready_colour": ready, "buzzer": second % 2 == 1})
    shown = {sign: lamp.show(sign) for sign in Sign}
    beeps = [beep for sign in Sign if (beep := lamp.beep(sign))]
    for command in (lamp.at_rest(), *shown.values(), *beeps):
        assert all(0 <= value <= 255 for value in command.values())
        assert command["reader"] == first
    assert all(command["temporary"] for command in shown.values())
    looks = {(c["on_color"], c["on_count"], c["off_count"], c["control_code"]) for c in shown.values()}
    assert len(looks) == len(Sign)
    assert len(beeps) == (len(Sign) - 1 if lamp.buzzer else 0)
