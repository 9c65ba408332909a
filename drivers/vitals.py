"""Collects what a driver's commands did, and says so at most once a second."""

from drivers.contract import VITALS_MAX, DeviceFault, ReportSink, Vitals

EVERY_S = 1.0  # an operator's page looks no more often, and a report costs every lane's loop


class VitalSigns:
    """One device's; the driver tells the time, so that tests need not wait."""

    def __init__(self) -> None:
        self._took_s: list[float] = []
        self._errors: list[DeviceFault] = []
        self._good = False
        self._said_s: float | None = None  # or since when there is something to say

    def good(self, took_s: float | None = None) -> None:
        """The device answered, `took_s` after it was asked; None: it spoke unasked."""
        self._good = True
        if took_s is not None and len(self._took_s) < VITALS_MAX:
            self._took_s.append(took_s)

    def failed(self, fault: DeviceFault) -> None:
        """A command was not answered, or wrongly."""
        if len(self._errors) < VITALS_MAX:
            self._errors.append(fault)

    def tell(self, report: ReportSink, now_s: float) -> None:
        """Say what there is, if it is time and the device was good since; errors alone wait for it or for `Down`."""
        if self._said_s is None:
            self._said_s = now_s
        if self._good and now_s - self._said_s >= EVERY_S:
            said = Vitals(tuple(self._took_s), tuple(self._errors))
            self._took_s, self._errors, self._good, self._said_s = [], [], False, now_s
            report(said)
