"""What reading is measured to take: stages, memory of each process, and what the command leaves out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from bench.process_family import memory_peak, processor_seconds
from bench.reading import WHOLE, ReadingFigures, cost_table, measure_reading, reading_work, speed_table
from inference.reading_pool import READERS
from tests.bench.conftest import SLICES, TINY
from tests.conftest import PROJECT

BLOCK = 200 << 20


@pytest.fixture(scope="module")
def figures(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReadingFigures]:
    folder = tmp_path_factory.mktemp("reading")
    shutil.copy(archive, folder / f"chest-{SLICES}.zip")
    READERS.close()
    work = reading_work("jpeg-ls", folder, None, SLICES, TINY.input)
    yield measure_reading("jpeg-ls", work, 3)
    READERS.close()


def test_the_stages_make_up_the_fastest_run(figures: ReadingFigures) -> None:
    stages = {stage: seconds for stage, seconds in figures.seconds.items() if stage != WHOLE}
    assert list(stages) == ["unpack", "headers and choice", "read", "lungs", "prepare"]
    assert all(seconds > 0 for seconds in stages.values())
    assert 0.8 * figures.whole_s < sum(stages.values()) <= figures.whole_s <= figures.median_s
    assert (figures.files, figures.slices) == (SLICES, SLICES)
    assert figures.processor_s > 0
    assert min(figures.start_s, figures.first_s, figures.plain_s or 0) > 0


def test_memory_of_the_readers_is_not_that_of_the_node(figures: ReadingFigures) -> None:
    memory = figures.memory
    assert 0 < memory.children_bytes < memory.own_bytes
    assert memory.own_bytes < memory.together_bytes <= memory.own_bytes + memory.children_bytes


def test_what_children_hold_counts_for_them() -> None:
    code = f"import time; block = b'x' * {BLOCK}; time.sleep(1)"
    peak = memory_peak(lambda: subprocess.run([sys.executable, "-c", code], check=True, capture_output=True))
    assert peak.children_bytes > BLOCK
    assert peak.own_bytes < peak.together_bytes


def test_what_children_compute_counts_too() -> None:
    code = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True)\ninput()"
    command = [sys.executable, "-c", code]
    before = processor_seconds()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert processor_seconds() - before > 0.45
        child.communicate(b"\n")


def test_the_tables_name_every_stage_and_the_figures_survive_json(figures: ReadingFigures) -> None:
    speed, cost = speed_table([figures]), cost_table([figures])
    for table in (speed, cost):
        assert len({line.count("|") for line in table.splitlines()}) == 1
    for stage, seconds in figures.seconds.items():
        assert stage in speed or stage == WHOLE
        assert f"{seconds:.2f}" in speed
    assert f"{figures.first_s:.2f}" in cost
    assert ReadingFigures.from_json(json.loads(json.dumps(asdict(figures)))) == figures


def test_real_studies_are_left_out_where_there_are_none(tmp_path: Path) -> None:
    file = tmp_path / "reading.json"
    command = [sys.executable, "-m", "bench", "reading", "--case", "nlst-toshiba", "--json", str(file)]
    environment = {name: value for name, value in os.environ.items() if name != "CT_TEST_DATA"}
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("nlst-toshiba is left out")
    assert not file.exists()
