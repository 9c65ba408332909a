"""A camera as a code scanner: the controller's side. What it sees and decodes happens in the camera process."""

from collections.abc import Mapping
from dataclasses import replace

from drivers.contract import VITALS_MAX, CodeReport, DeviceFault, Down, ReportSink, Up, Vitals
from drivers.registry import SettingError, SettingValue
from drivers.scanners.camera.codec import CameraSettings, FrameCounts, Kind, decode_counts
from drivers.scanners.camera.process import shared_process
from drivers.worker.codec import Message, Order, encode_order

_FAULTS = frozenset(DeviceFault)


class CameraScanner:
    """One camera; settings as `driver.toml` declares them."""

    def __init__(self, settings: Mapping[str, SettingValue]) -> None:
        self.settings = CameraSettings(
            source=str(settings["source"]),
            fps=float(settings["fps"]),
            loop=bool(settings["loop"]),
            same_code_s=float(settings["same_code_s"]),
            fallback=settings["fallback"] == "pyzbar",
            exposure_ms=float(settings.get("exposure_ms", 0.0)),
            torch=bool(settings["torch"]),
        )
        self.frames_skipped = 0  # the newest frame wins; a count that grows says that there are too many cameras
        self._report: ReportSink | None = None
        self._up = False
        self._said: DeviceFault | None = None

    async def run(self, report: ReportSink) -> None:
        """Work until cancelled."""
        self._report = report
        await shared_process().serve(self)

    def hear(self, message: Message) -> None:
        """The camera process said something about this camera."""
        match message.kind:
            case Kind.CODE:
                self._say(CodeReport(message.body, "QR"))
            case Kind.CODE_GB18030:
                self._say(CodeReport(message.body, "QR", "gb18030"))
            case Kind.UP:
                # A process that is started again must not show the folder's old pictures to the lane once more.
                self.settings = replace(self.settings, only_new=True)
                self._up, self._said = True, None
                self._say(Up(message.body.decode("utf-8", "replace")))
            case Kind.COUNTS:
                self._count(decode_counts(message.body))
            case Kind.DOWN:
                fault, _, detail = message.body.decode("utf-8", "replace").partition(":")
                self._down(DeviceFault(fault) if fault in _FAULTS else DeviceFault.SOURCE_UNREADABLE, detail)

    def _count(self, counts: FrameCounts) -> None:
        self.frames_skipped += counts.skipped
        if self._up:
            broken = (DeviceFault.SOURCE_UNREADABLE,) * min(counts.broken, VITALS_MAX)
            self._say(Vitals(errors=broken, frames_skipped=counts.skipped))

    def lost(self, why: str) -> None:
        """The camera process is gone and will be started again."""
        self._down(DeviceFault.WORKER_LOST, why)

    def _down(self, fault: DeviceFault, detail: str) -> None:
        if self._up or self._said is not fault:
            self._say(Down(fault, detail))
        self._up, self._said = False, fault

    def _say(self, report: CodeReport | Up | Down | Vitals) -> None:
        if self._report:
            self._report(report)


def create(settings: Mapping[str, SettingValue]) -> CameraScanner:
    """A camera with checked settings; opens nothing yet. Raises SettingError for a source longer than any path."""
    camera = CameraScanner(settings)
    try:
        encode_order(Order(0, camera.settings))
    except ValueError:
        raise SettingError("source", "is longer than any path or address") from None
    return camera
