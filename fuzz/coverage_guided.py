"""One target under atheris (libFuzzer): inputs that reach new branches are kept and altered further.

python -m fuzz.coverage_guided TARGET FOLDER SECONDS
"""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

import atheris

from fuzz.corpus_files import LARGEST_INPUT

_WATCHED = ["inference", "dicom_node", "structured_report", "pydicom", "nibabel", "python_multipart"]
_DATA_ALONE = [
    "pydicom._dicom_dict",
    "pydicom._private_dict",
    "pydicom._uid_dict",
    "pydicom.sr",
    "nibabel.tests",
]
_BLIND_SHARE = 0.1
"""Of the alterations, those that know nothing of the format."""


def main() -> None:
    """Run until the time is over; the figures and what was found are below the folder."""
    name, folder, seconds = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    with atheris.instrument_imports(include=_WATCHED, exclude=_DATA_ALONE):
        from fuzz.targets import load  # noqa: PLC0415
        from fuzz.watch import LONGEST_S, Watch  # noqa: PLC0415

        target = load(name)
    watch = Watch(target, target.run, folder / "found", folder / "coverage_guided.json")

    def one(data: bytes) -> None:
        watch.feed(bytes(data))

    def alter(data: bytes, most: int, seed: int) -> bytes:
        rng = Random(seed)
        altered = (
            atheris.Mutate(data, most) if rng.random() < _BLIND_SHARE else target.mutate(bytes(data), rng)
        )
        return bytes(altered[:most])

    (folder / "corpus").mkdir(exist_ok=True)
    options = [
        f"-max_total_time={seconds}", f"-timeout={LONGEST_S:.0f}", f"-max_len={LARGEST_INPUT}",
        "-len_control=0", "-rss_limit_mb=0", f"-artifact_prefix={folder / 'found'}/",
        "-print_final_stats=1", "-verbosity=0",
    ]  # fmt: skip
    atheris.Setup(
        [sys.argv[0], *options, str(folder / "corpus"), str(folder / "seeds")], one, custom_mutator=alter
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
