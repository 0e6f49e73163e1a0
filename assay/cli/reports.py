"""Findings of a validation as files: JSON for programs, JUnit XML for whatever shows test results."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection
from xml.etree import ElementTree

from assay.datasets.validation import Finding, ValidationReport

__all__ = ["findings_as_json", "findings_as_junit"]


def findings_as_json(name: str, report: ValidationReport, failing: Collection[str]) -> str:
    """Return a report as JSON: dataset, passed, the counts by severity, checks and findings.

    Parameters
    ----------
    name : str
        Of the dataset, as it was given.
    report : ValidationReport
    failing : collection of str
        Severities that make the dataset fail.
    """
    severities = [finding.severity for finding in report.findings]
    plain = {
        "dataset": name,
        "passed": not any(severity in failing for severity in severities),
        "fails_on": sorted(failing),
        "errors": severities.count("error"),
        "warnings": severities.count("warning"),
        "risks": severities.count("risk"),
        "checks": list(report.checks),
        "findings": [dataclasses.asdict(finding) for finding in report.findings],
    }
    return json.dumps(plain, indent=2) + "\n"


def findings_as_junit(name: str, report: ValidationReport, failing: Collection[str]) -> str:
    """Return a report as JUnit XML: a test case per check, which fails by its findings of a failing severity.

    Other findings of the check stand in its `system-out`.
    """
    found: dict[str, list[Finding]] = {check: [] for check in report.checks}
    for finding in report.findings:
        found.setdefault(finding.check, []).append(finding)
    failed = sum(any(item.severity in failing for item in findings) for findings in found.values())
    suites = ElementTree.Element("testsuites")
    counts = {"tests": str(len(found)), "failures": str(failed), "errors": "0", "skipped": "0"}
    suite = ElementTree.SubElement(suites, "testsuite", {"name": _printable(name), **counts})
    for check, findings in found.items():
        case = ElementTree.SubElement(suite, "testcase", {"classname": "assay.validate", "name": check})
        wrong = [item for item in findings if item.severity in failing]
        if wrong:
            attributes = {"message": _printable(wrong[0].message), "type": wrong[0].severity}
            ElementTree.SubElement(case, "failure", attributes).text = _printable("\n".join(map(str, wrong)))
        if said := [item for item in findings if item.severity not in failing]:
            ElementTree.SubElement(case, "system-out").text = _printable("\n".join(map(str, said)))
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"


def _printable(text: str) -> str:
    """Replace the characters that XML cannot hold."""
    return "".join(character if character in "\t\n\r" or character >= " " else "?" for character in text)
