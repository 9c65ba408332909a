"""Frames of voice modules: however bytes are cut the same comes out, and what we send is understood as it was meant."""

from drivers.prompts.voice import codec
from drivers.prompts.voice.codec import PROFILES, Frames, Heard, Profile
from tests.fuzz.mutate import altered

REACHES = codec
GOOD = {
    "dfr0534": bytes.fromhex("AA010101AD"),
    "dfplayer": bytes.fromhex("7EFF0642000001FEB8EF"),
    "dfplayer-short": bytes.fromhex("7EFF0642000001EF"),
}
LONGEST = 20  # AA, command, length, sixteen bytes, sum


def fuzz(data: bytes) -> None:
    for name, profile in PROFILES.items():
        _read(profile, GOOD[name], data)
        _read(profile, GOOD[name], altered([GOOD[name], GOOD[name] * 2, GOOD[name][:-1]], data) + data)
        track = int.from_bytes(data[:2], "big") % 3000
        (heard,) = Frames(profile).feed(profile.play_track(track))
        assert heard == Heard(profile.play, track)
        assert Frames(profile).feed(profile.set_volume(track % 31)) == [Heard(profile.volume, track % 31)]
        assert Frames(profile).feed(profile.ask_state()) == [Heard(profile.ask, 0)]


def _read(profile: Profile, good: bytes, data: bytes) -> None:
    whole, cut = Frames(profile), Frames(profile)
    heard = whole.feed(data)
    assert heard == [one for at in range(len(data)) for one in cut.feed(data[at : at + 1])]
    assert len(heard) <= len(data) // 4
    whole.silence()
    assert whole.feed(good) == Frames(profile).feed(good) != []
    assert Frames(profile).feed(good)[0] in cut.feed(good * (LONGEST // len(good) + 3))
