"""In a process of its own, since the allocator's settings are the process's."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Page faults of writing 100 MB twice, the first of which is freed in between; in a thread, as the node does.
FAULTS = """
import ctypes, resource, threading
from inference.allocator import keep_freed_memory
if {keep}:
    assert keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
def write():
    block = libc.malloc(100 << 20)
    libc.memset(block, 1, 100 << 20)
    libc.free(block)
def run():
    write()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    write()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
thread = threading.Thread(target=run)
thread.start()
thread.join()
"""


@pytest.mark.parametrize("keep", [True, False])
def test_freed_memory_is_used_again_without_being_mapped_anew(*, keep: bool) -> None:
    run = subprocess.run(
        [sys.executable, "-c", FAULTS.format(keep=keep)], capture_output=True, text=True, check=True
    )
    faults = int(run.stdout)
    assert faults < 100 if keep else faults > 100
