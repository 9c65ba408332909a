"""`gate devices …`: drivers and their settings, whether a real device is there, and simulated ones."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from gate.cli.errors import NOT_SO

app = typer.Typer(
    no_args_is_help=True,
    help="Drivers, real devices and simulated ones.",
    epilog="Example: gate devices list modbus-relay",
)

Settings = Annotated[list[str] | None, typer.Option("--set", help="A setting, NAME=VALUE; may be repeated.")]
Knobs = Annotated[list[str] | None, typer.Option("--set", help="A knob, NAME=VALUE; may be repeated.")]


@app.command("list")
def list_drivers(
    driver: Annotated[str | None, typer.Argument(help="Only this driver, with all its settings.")] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List drivers; with a driver's name, its settings with unit, bounds and default.

    Example: gate devices list modbus-relay
    """
    from dataclasses import asdict
    from json import dumps

    from drivers import registry

    infos = [registry.driver(driver)] if driver else list(registry.drivers().values())
    if json:
        print(dumps([asdict(info) for info in infos], indent=2))
        return
    width = max(len(info.name) for info in infos)
    for info in infos:
        print(f"{info.name:{width}} {info.kind:12} {info.sentence}")
        print(f"{'':{width}} proved by: {'; '.join(info.proved_by) or 'nothing yet'}")
        if driver:
            _print_declared(info.settings)
            for sentence in info.unproved:
                print(f"    unproved: {sentence}")
            print(f"  knobs of gate devices simulate {info.name}:")
            _print_declared(info.knobs)


def _print_declared(declared: Mapping[str, Any]) -> None:
    for setting in declared.values():
        bounds = f" {setting.min:g} to {setting.max:g}" if setting.min is not None and setting.max is not None else ""
        choices = " one of " + ", ".join(map(str, setting.choices)) if setting.choices else ""
        default = "optional" if setting.optional else "required" if setting.default is None else repr(setting.default)
        print(f"    {setting.name:26} {setting.type}{bounds} {setting.unit}{choices} ({default})")
        print(f"    {'':26} {setting.sentence}")


@app.command()
def probe(
    port: Annotated[str, typer.Option(help="Its port (for a camera: its source).")],
    driver: Annotated[
        str | None, typer.Argument(help="A driver's name; without one, every driver asks in turn.")
    ] = None,
    settings: Settings = None,
    seconds: Annotated[float, typer.Option(min=0.5, max=600, help="How long to listen to a named driver.")] = 5.0,
    json: Annotated[
        bool, typer.Option("--json", help="As JSON; with a driver's name, a line for each report.")
    ] = False,
) -> None:
    """Say what is on a port, or what a named driver hears there; exit 1 when nothing answers.

    Without a driver, each asks what changes nothing: never a release, a reset or a setting. With one, its reports are
    shown, never what a card or code holds.

    Example: gate devices probe --port /dev/ttyUSB0
    """
    found = _listen(driver, port, settings, seconds, json) if driver else _find(port, json)
    if not found:
        if not json:
            print("the device did not answer")
        raise typer.Exit(NOT_SO)


def _find(port: str, json: bool) -> bool:
    """Let every driver ask at the port and print what they found; whether one knew its device."""
    import asyncio
    from dataclasses import asdict
    from json import dumps

    from drivers import probe as asking
    from drivers.registry import SettingError
    from drivers.transport import PortError, parse_port

    try:
        parse_port(port)
    except ValueError as error:
        raise SettingError("port", str(error)) from None
    trouble, tries = "", []
    try:
        tries = asyncio.run(asking.find(port))
    except PortError as error:
        trouble = f"{error.fault}: {error}"
    stable = asking.stable_name(port)
    found = next((each for each in tries if each.says), None)
    if json:
        tried = [asdict(each) for each in tries]
        print(
            dumps(
                {
                    "port": port,
                    "stable_name": stable,
                    "found": found and asdict(found),
                    "tried": tried,
                    "trouble": trouble,
                }
            )
        )
        return found is not None
    width = max((len(each.driver) for each in tries), default=0)
    for each in tries:
        print(f"{each.driver:{width}} {each.says or each.trouble or 'not one of its devices'}")
    if trouble:
        print(trouble)
    if stable and stable != port:
        print(f"use its lasting name in station.toml: {stable}")
    return found is not None


def _listen(name: str, port: str, settings: list[str] | None, seconds: float, json: bool) -> bool:
    """Run a driver on the port and print what it reports; whether it was ever up."""
    import asyncio

    from drivers import contract, registry
    from gate.config import checked_place

    info = registry.driver(name)
    place = "port" if "port" in info.settings else "source"
    given = _typed(info.settings, {**_pairs(settings), place: port})
    with _as_options(place):
        checked = registry.check_settings(info, {**given, place: checked_place(place, port, Path(), "--port")})
        device = registry.create(name, checked)
    up = False

    def report(said: contract.DeviceReport) -> None:
        nonlocal up
        up = up or isinstance(said, contract.Up)
        print(_as_json(said) if json else _in_words(said), flush=True)

    async def listen() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await device.run(report)

    asyncio.run(listen())
    return up


@contextlib.contextmanager
def _as_options(place: str) -> Iterator[None]:
    """What is wrong with a setting is told with the option that gave it; `--port` gives the setting `place`."""
    from drivers.registry import SettingError

    try:
        yield
    except SettingError as error:
        option = "--port" if error.key == place else f"--set {error.key}"
        raise SettingError(error.key, f"{option}: {error}") from error


def _shown(said: Any) -> dict[str, Any]:
    """The fields of a report without those that hide what is a person's."""
    from dataclasses import fields

    return {field.name: getattr(said, field.name) for field in fields(said) if field.repr}


def _as_json(said: Any) -> str:
    from json import dumps

    return dumps({"report": type(said).__name__, **_shown(said)})


def _in_words(said: Any) -> str:
    """A report for a person to read; of answer times how many and the median in milliseconds."""
    from collections import Counter
    from statistics import median

    shown = _shown(said)
    if took_s := shown.get("took_s"):
        shown["took_s"] = f"{len(took_s)} answers, {median(took_s) * 1000:.1f} ms at the median"
    if errors := shown.get("errors"):
        shown["errors"] = ", ".join(f"{count} {fault}" for fault, count in Counter(errors).items())
    told = [f"{name} {value}" for name, value in shown.items() if value not in ("", None, (), 0) or value is False]
    return ": ".join(part for part in (type(said).__name__, "; ".join(told)) if part)


@app.command()
def simulate(
    driver: Annotated[str, typer.Argument(help="A driver's name.")],
    port: Annotated[
        str | None,
        typer.Option(
            help="pty:PATH, tcp:HOST:PORT or udp:HOST:PORT, as the device has it; dir:FOLDER for a camera or wave "
            "files, pcsc:FOLDER for a card reader with a PC/SC service of its own."
        ),
    ] = None,
    options: Knobs = None,
    knobs: Annotated[bool, typer.Option("--knobs", help="List the knobs of this device and end.")] = False,
) -> None:
    """Run a simulated device on a port until Ctrl-C: point station.toml at it. Its knobs are faults to be tried.

    Every device on a port knows silent, late_ms, garbled_every, chopped, wrong_answer and unplug_every_s;
    --knobs lists its own besides, e.g. a card pulled mid-read, a stuck passage contact, a broken wire.

    Example: gate devices simulate samv --port pty:build/reader --set late_ms=800
    """
    import asyncio
    import importlib

    from drivers import registry

    info = registry.driver(driver)
    if knobs:
        _print_declared(info.knobs)
        return
    if port is None:
        raise registry.SettingError("port", "--port is missing: see gate devices simulate --help")
    _check_kind(info, port)
    with _as_options("port"):
        given = registry.check_knobs(info, _typed(info.knobs, _pairs(options)))
    link = Path(port.removeprefix("pty:"))
    if port.startswith("pty:") and link.exists() and not link.is_symlink():
        raise registry.SettingError("port", f"{link} is there and no port: give a path that is free")
    module = importlib.import_module(info.simulator)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_simulated(module, port, given))
    except ValueError as error:
        raise registry.SettingError("port", f"{error}: see gate devices simulate --help") from error


def _check_kind(info: Any, port: str) -> None:
    """Refuse a port of a kind at which the driver would never look; the simulator itself judges the rest."""
    from drivers.registry import SettingError

    kind = port.partition(":")[0]
    # A PC/SC reader's simulator is a card, which is laid on vpcd by TCP.
    if kind in ("pty", "tcp", "udp") and info.ports and kind not in info.ports and "pcsc" not in info.ports:
        wanted = " or ".join(f"{each}:{'PATH' if each == 'pty' else 'HOST:PORT'}" for each in info.ports)
        raise SettingError("port", f"--port: {port!r} is no port that {info.name} has: give {wanted}")


async def _simulated(module: Any, port: str, given: Mapping[str, Any]) -> None:
    from dataclasses import fields

    from drivers.simulated.wire import FAULTS, WireFaults

    of_wire = {field.name for field in fields(WireFaults)}
    FAULTS.set(WireFaults(**{name: value for name, value in given.items() if name in of_wire}))
    own = {name: _as_text(value) for name, value in given.items() if name not in of_wire}
    await module.simulate(port, own)


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _pairs(settings: list[str] | None) -> dict[str, str]:
    from drivers.registry import SettingError

    pairs = {}
    for text in settings or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise SettingError(name, f"--set {text!r} is not NAME=VALUE")
        pairs[name] = value
    return pairs


def _typed(declared: Mapping[str, Any], given: dict[str, str]) -> dict[str, Any]:
    """Text from the command line as the types the driver declares; what does not fit is left for its own check."""
    typed: dict[str, Any] = {}
    for name, text in given.items():
        kind = declared[name].type if name in declared else "string"
        typed[name] = text
        with contextlib.suppress(ValueError):
            typed[name] = _CONVERT[kind](text)
    return typed


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"


_CONVERT: dict[str, Callable[[str], Any]] = {"integer": int, "number": float, "string": str, "boolean": _boolean}
