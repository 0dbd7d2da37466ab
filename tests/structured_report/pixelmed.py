"""What PixelMed's DicomSRValidator says of reports, and why some of it is to be expected.

It is of 2022 and matches English meanings: it is asked about English reports alone.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

VALIDATOR = (
    "java",
    *("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"),  # it runs for seconds: compiling well does not pay
    "-Djdk.xml.xpathExprOpLimit=0",
    "-Djdk.xml.xpathTotalOpLimit=0",
    "-Djdk.xml.xpathExprGrpLimit=0",
    *("-cp", "/usr/share/java/pixelmed.jar", "com.pixelmed.validate.DicomSRValidator"),
)
_PLANAR = r"Error: Template 1410 PlanarROIMeasurements/.*/\[Row {}\] {} .*: Missing conditional content item"

ONE_REGION = {
    _PLANAR.format(5, "SCOORD"): (
        "in a report with one region, every measurement group is also tried as TID 1410, by whose condition a"
        " group without a segmentation needs a region; an unlocated finding is a TID 1501 group and has none"
    ),
    _PLANAR.format(7, "IMAGE"): (
        "the other half of the same condition: a group without a region needs a segmentation frame"
    ),
}
SEVERAL_REGIONS = {
    r'Warning: .*/CODE \(130400,DCM,"Geometric purpose of region"\): Content Item not in template': (
        "in a report with more than one region, no group is tried as TID 1410, whose row 3c this is: the"
        " validator takes several regions for those of one volume"
    ),
}
OWN_PROCEDURE = {
    r"Error: Template 1500 .*\[Row 4\] CODE \(121058,DCM,.* not found in context group 100": (
        "the procedure is what the images call it; the group is a baseline one (BCID), which may be extended"
    ),
}
ANSWER = {
    r'Warning: .*/TEXT \(122405,DCM,"Algorithm Manufacturer"\): Content Item not in template': (
        "TID 4019 row 2b is younger than this validator"
    ),
    r'Warning: .*/CONTAINER \(125007,.*/CODE \(705057003,SCT,"Presence"\): Content Item not in template': (
        "TID 1501 row 11 and TID 1410 row 12 leave the concept to whoever invokes them ($QualType), and"
        " TID 1500 does not bind it"
    ),
    r"Warning: .*/CODE \(most-dangerous,99DICOMNODE,.*\): Content Item not in template": (
        "TID 1501 row 11, as above"
    ),
    r'Warning: .*/TEXT \(121106,DCM,"Comment"\): Content Item not in template': (
        "TID 1501 row 12 and TID 1410 row 13, as above"
    ),
}
REFUSAL = {
    r'Warning: .*/CONTAINER \(121070,.*/CODE \(705057003,SCT,"Presence"\): Content Item not in template': (
        "a coded observation below Findings; TID 2000 is extensible, and its own observations are of findings"
        " that were looked for"
    ),
    r"Warning: .*/CODE \(111017,DCM,.*\): Content Item not in template": (
        "TID 4101 has the run's outcome, TID 2000 does not"
    ),
    r"Warning: .*/TEXT \(refusal-code,99DICOMNODE,.*\): Content Item not in template": (
        "the code is private: no template has it"
    ),
}
ALLOWED = {**ONE_REGION, **SEVERAL_REGIONS, **OWN_PROCEDURE, **ANSWER, **REFUSAL}


def said_of(reports: Sequence[Path]) -> list[list[str]]:
    """Errors and warnings about each report that the validator took for one of ours and read to its end."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(_said, reports))


def _said(report: Path) -> list[str]:
    done = subprocess.run([*VALIDATOR, report], capture_output=True, text=True, check=False, timeout=300)
    output = done.stdout + done.stderr
    assert "Found Comprehensive3DSR IOD" in output, output
    assert re.search("Found Root Template TID_(1500|2000) ", output), output
    assert "IOD validation complete" in output, output
    return [line for line in output.splitlines() if line.startswith(("Error", "Warning"))]


def unexplained(said: Sequence[str]) -> list[str]:
    """What no reason stands for."""
    return [line for line in said if not any(re.fullmatch(pattern, line) for pattern in ALLOWED)]


def explained_by(said: Sequence[str]) -> set[str]:
    """The patterns of the list that something of it fits."""
    return {pattern for pattern in ALLOWED for line in said if re.fullmatch(pattern, line)}
