"""What every `driver.toml` must declare, and what building a driver may not do."""

import dataclasses
import importlib
import inspect
import os
import threading
from pathlib import Path

import pytest

from drivers import contract, registry
from drivers.registry import Setting
from drivers.simulated.wire import WireFaults
from tests.conformance.plug import CASE_NAMES, CASES, Plug, build

SETTINGS = [(info, setting) for info in registry.drivers().values() for setting in info.settings.values()]
SETTING_NAMES = [f"{info.name}.{setting.name}" for info, setting in SETTINGS]
UNITS = {"_ms": "ms", "_s": "s", "baud": "Bd", "fps": "1/s"}


def test_every_driver_folder_is_registered() -> None:
    """A folder with a driver.toml is a driver, without a list to add it to; there is one folder each."""
    folders = {path.parent for path in Path(registry.__file__).parent.glob("*/*/driver.toml")}
    assert folders
    assert {info.package.replace(".", "/") for info in registry.drivers().values()} == {
        str(folder.relative_to(Path(registry.__file__).parent.parent)) for folder in folders
    }
    assert len(registry.drivers()) == len(folders), "two drivers of one name"


@pytest.mark.parametrize("info", registry.drivers().values(), ids=list(registry.drivers()))
def test_a_driver_says_what_it_is_and_brings_a_simulator(info: registry.DriverInfo) -> None:
    """A sentence, a simulated peer to be proved against, and no other demand than its place."""
    assert info.sentence.endswith(".")
    assert inspect.iscoroutinefunction(importlib.import_module(info.simulator).simulate)
    needed = [s.name for s in info.settings.values() if s.default is None and not s.optional]
    assert needed in (["port"], ["source"])
    folder = Path(importlib.import_module(info.package).__file__ or "").parent
    assert {"codec.py", "device.py", "driver.toml"} <= {path.name for path in folder.iterdir()}
    assert importlib.import_module(f"{info.package}.codec").__doc__


@pytest.mark.parametrize(("info", "setting"), SETTINGS, ids=SETTING_NAMES)
def test_a_setting_is_declared_in_full(info: registry.DriverInfo, setting: Setting) -> None:
    """A sentence; for numbers bounds or choices, and the unit where the name has one; a default that is allowed."""
    assert setting.sentence.endswith(".")
    assert setting.type in ("string", "integer", "number", "boolean")
    if setting.type in ("integer", "number") and not setting.choices:
        assert setting.min is not None
        assert setting.max is not None
        assert setting.min < setting.max
    for ending, unit in UNITS.items():
        assert not setting.name.endswith(ending) or setting.unit == unit
    if setting.default is not None:
        assert not setting.optional, "an absent setting cannot have a default"
        checked = registry.check_settings(info, {**_place(info), setting.name: setting.default})
        assert checked[setting.name] == setting.default


@pytest.mark.parametrize(("info", "setting"), SETTINGS, ids=SETTING_NAMES)
def test_a_wrong_value_is_refused_by_its_name(info: registry.DriverInfo, setting: Setting) -> None:
    """Another type, a value outside its bounds, one that is no choice."""
    wrong: list[object] = [[], None, 1 if setting.type == "string" else "x"]
    wrong += [bound + step for bound, step in ((setting.min, -1), (setting.max, 1)) if bound is not None]
    wrong += ["no such choice", -12345] if setting.choices else []
    for value in wrong:
        with pytest.raises(registry.SettingError) as caught:
            registry.check_settings(info, {**_place(info), setting.name: value})
        assert caught.value.key == setting.name


KNOBS = [(info, knob) for info in registry.drivers().values() for knob in info.knobs.values()]


@pytest.mark.parametrize(("info", "knob"), KNOBS, ids=[f"{info.name}.{knob.name}" for info, knob in KNOBS])
def test_a_knob_of_its_simulator_is_declared_like_a_setting(info: registry.DriverInfo, knob: Setting) -> None:
    """A sentence, bounds or choices, a default that is allowed; a wrong value is refused by its name."""
    assert knob.sentence.endswith(".")
    assert knob.default is not None
    if knob.type in ("integer", "number") and not knob.choices:
        assert knob.min is not None
        assert knob.max is not None
    assert registry.check_knobs(info, {knob.name: knob.default})[knob.name] == knob.default
    for value in ([], None, *(["no such choice"] if knob.choices else [])):
        with pytest.raises(registry.SettingError) as caught:
            registry.check_knobs(info, {knob.name: value})
        assert caught.value.key == knob.name


@pytest.mark.parametrize("info", registry.drivers().values(), ids=list(registry.drivers()))
def test_a_simulator_reads_the_knobs_it_declares(info: registry.DriverInfo) -> None:
    """Each name that is not one of the cable's stands in its source; an unknown knob is refused with the nearest."""
    source = inspect.getsource(importlib.import_module(info.simulator))
    own = set(info.knobs) - {field.name for field in dataclasses.fields(WireFaults)}
    assert {name for name in own if f'"{name}"' not in source} == set()
    with pytest.raises(registry.SettingError, match="has no knob"):
        registry.check_knobs(info, {"no such knob": 1})


@pytest.mark.parametrize("info", registry.drivers().values(), ids=list(registry.drivers()))
def test_a_probe_is_a_coroutine(info: registry.DriverInfo) -> None:
    """What `driver.toml` names as probe can be let ask."""
    assert not info.probe or inspect.iscoroutinefunction(importlib.import_module(info.probe).identify)


@pytest.mark.parametrize(("info", "kind"), CASES, ids=CASE_NAMES)
def test_building_opens_nothing(info: registry.DriverInfo, kind: str, tmp_path: Path) -> None:
    """Defaults and a place are enough; no file, no socket, no thread, no process before `run`; and no event loop."""
    plug = Plug(info, kind, tmp_path)
    build(info, plug)  # its modules are loaded now
    before = _open_files(), threading.active_count()
    device = build(info, plug)
    assert (_open_files(), threading.active_count()) == before
    assert inspect.iscoroutinefunction(device.run)
    if info.kind == "turnstile":
        for command in ("release", "hold_open", "end_hold"):
            assert inspect.iscoroutinefunction(getattr(device, command))


def test_no_report_shows_bytes() -> None:
    """Bytes are a person's: the contract hides every such field of every report, so that no driver can forget it."""
    for report in (*contract.DeviceReport.__args__,):
        for field in dataclasses.fields(report):
            assert field.type is not bytes or not field.repr, f"{report.__name__}.{field.name}"


def _place(info: registry.DriverInfo) -> dict[str, str]:
    return {name: "x" for name in ("port", "source") if name in info.settings}


def _open_files() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))
