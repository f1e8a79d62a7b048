"""The report of a run of the monitors, as JSON and JUnit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from featurelayer.monitor.context import MonitorContext
from featurelayer.monitor_records import MonitorResult, MonitorStatus, Profile
from featurelayer.terminal_text import format_number

if TYPE_CHECKING:
    from xml.etree import ElementTree


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorReport:
    """A run of the monitors: its time, results and profiles, and the context of each view."""

    run: str
    at: datetime
    results: tuple[MonitorResult, ...]
    profiles: tuple[Profile, ...] = field(repr=False)
    contexts: tuple[MonitorContext, ...] = field(repr=False)

    def with_status(self, status: MonitorStatus) -> list[MonitorResult]:
        """Return the results with a status."""
        return [result for result in self.results if result.status is status]

    @property
    def failed(self) -> bool:
        """Whether any monitor is at `error`."""
        return bool(self.with_status(MonitorStatus.ERROR))

    @property
    def counts(self) -> dict[str, int]:
        """The number of results by status."""
        counter = Counter(result.status for result in self.results)
        return {str(status): counter[status] for status in MonitorStatus}

    def to_dict(self) -> dict[str, Any]:
        """Return the run as JSON values."""
        return {
            "run": self.run,
            "at": self.at.isoformat(),
            "counts": self.counts,
            "results": [result.to_dict() for result in self.results],
        }

    def to_junit(self) -> str:
        """Return the run as a JUnit file: a suite per view, a case per monitor; warnings are in `system-out`."""
        from xml.etree import ElementTree

        suites = ElementTree.Element("testsuites", name="featurelayer monitor")
        for view in dict.fromkeys(result.view for result in self.results):
            self._suite(suites, view, [result for result in self.results if result.view == view])
        ElementTree.indent(suites)
        return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"

    def _suite(self, suites: ElementTree.Element, view: str, results: Sequence[MonitorResult]) -> None:
        from xml.etree import ElementTree

        counts = Counter(result.status for result in results)
        failed, skipped = str(counts[MonitorStatus.ERROR]), str(counts[MonitorStatus.SKIPPED])
        suite = ElementTree.SubElement(
            suites, "testsuite", name=view, timestamp=self.at.isoformat(timespec="seconds"), tests=str(len(results)),
            failures=failed, skipped=skipped,
        )  # fmt: skip
        for result in results:
            case = ElementTree.SubElement(suite, "testcase", classname=result.name, name=result.monitor)
            if result.status is MonitorStatus.ERROR:
                ElementTree.SubElement(case, "failure", message=_xml_safe(result.meaning)).text = _xml_safe(
                    describe_result(result)
                )
            elif result.status is MonitorStatus.SKIPPED:
                ElementTree.SubElement(case, "skipped", message=_xml_safe(result.meaning))
            elif result.status is MonitorStatus.WARN:
                ElementTree.SubElement(case, "system-out").text = _xml_safe(f"warning: {describe_result(result)}")


def describe_result(result: MonitorResult) -> str:
    """Return a result in a sentence: the metric, its value, the threshold and the baseline."""
    value = "" if result.value is None else f" {format_number(result.value)}"
    limit = "" if result.threshold is None else f", limit {format_number(result.threshold)}"
    baseline = f"; baseline: {result.baseline}" if result.baseline else ""
    return f"{result.name}: {result.metric}{value}{limit}: {result.meaning}{baseline}"


def _xml_safe(text: str) -> str:
    """Replace characters that XML can't hold; a category may have any."""
    return "".join(
        each if each in "\t\n\r" or (ord(each) >= 32 and ord(each) not in (0xFFFE, 0xFFFF)) else "?" for each in text
    )
