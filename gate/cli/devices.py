"""`gate devices …`: drivers and their settings, whether a real device is there, and simulated ones."""

import contextlib
from collections.abc import Callable
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
    for info in infos:
        print(f"{info.name:16} {info.kind:14} {info.sentence}")
        for setting in info.settings.values() if driver else ():
            bounds = (
                f" {setting.min:g} to {setting.max:g}" if setting.min is not None and setting.max is not None else ""
            )
            choices = " one of " + ", ".join(map(str, setting.choices)) if setting.choices else ""
            default = (
                "optional" if setting.optional else "required" if setting.default is None else repr(setting.default)
            )
            print(f"    {setting.name:26} {setting.type}{bounds} {setting.unit}{choices} ({default})")
            print(f"    {'':26} {setting.sentence}")
        for sentence in info.unproved if driver else ():
            print(f"    unproved: {sentence}")


@app.command()
def probe(
    driver: Annotated[str, typer.Argument(help="A driver's name.")],
    port: Annotated[str, typer.Option(help="Its port (for a camera: its source).")],
    settings: Settings = None,
    seconds: Annotated[float, typer.Option(min=0.5, max=600, help="How long to listen.")] = 5.0,
) -> None:
    """Open a real device and say what it reports, never what a card or code holds; exit 1 when it does not answer.

    Example: gate devices probe samv --port /dev/ttyUSB0
    """
    import asyncio

    from drivers import contract, registry
    from gate.config import checked_place

    info = registry.driver(driver)
    place = "port" if "port" in info.settings else "source"
    given = _typed(info, {**_pairs(settings), place: port})
    checked = registry.check_settings(info, {**given, place: checked_place(place, port, Path(), f"--{place}")})
    device = registry.create(driver, checked)
    up = False

    def report(said: contract.DeviceReport) -> None:
        nonlocal up
        up = up or isinstance(said, contract.Up)
        print(said, flush=True)  # personal fields have no repr

    async def listen() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await device.run(report)

    asyncio.run(listen())
    if not up:
        print("the device did not answer")
        raise typer.Exit(NOT_SO)


@app.command()
def simulate(
    driver: Annotated[str, typer.Argument(help="A driver's name.")],
    port: Annotated[str, typer.Option(help="pty:PATH or tcp:HOST:PORT.")],
    options: Settings = None,
) -> None:
    """Run a simulated device on a port until Ctrl-C: point station.toml at it.

    Example: gate devices simulate samv --port pty:build/reader
    """
    import asyncio
    import importlib

    from drivers import registry

    info = registry.driver(driver)
    link = Path(port.removeprefix("pty:"))
    if port.startswith("pty:") and link.exists() and not link.is_symlink():
        raise registry.SettingError("port", f"{link} is there and no port: give a path that is free")
    module = importlib.import_module(info.simulator)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(module.simulate(port, _pairs(options)))
    except ValueError as error:
        raise registry.SettingError("port", f"{error}: see gate devices simulate --help") from error


def _pairs(settings: list[str] | None) -> dict[str, str]:
    from drivers.registry import SettingError

    pairs = {}
    for text in settings or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise SettingError(name, f"--set {text!r} is not NAME=VALUE")
        pairs[name] = value
    return pairs


def _typed(info: Any, given: dict[str, str]) -> dict[str, Any]:
    """Text from the command line as the types the driver declares; what does not fit is left for its own check."""
    typed: dict[str, Any] = {}
    for name, text in given.items():
        kind = info.settings[name].type if name in info.settings else "string"
        typed[name] = text
        with contextlib.suppress(ValueError):
            typed[name] = _CONVERT[kind](text)
    return typed


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"


_CONVERT: dict[str, Callable[[str], Any]] = {"integer": int, "number": float, "string": str, "boolean": _boolean}
