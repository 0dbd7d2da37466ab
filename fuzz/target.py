"""What every target of the fuzzing has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

Run = Callable[[bytes], str]
"""Takes one input and returns in a word what became of it, such as a code of refusal; any exception is a
fault."""


@dataclass(frozen=True)
class Target:
    """One door that strangers' bytes come through.

    Attributes
    ----------
    name
        As on the command line, and of the folder of its corpus.
    run
        The door itself, as far as it can be followed in one process: for an engine that watches branches.
    whole
        The door as the node has it, with the processes that read strangers' files.
    seeds
        Inputs that are read without complaint.
    mutate
        An input altered in a way that its format knows.
    allowance_bytes
        Memory that one input may take, beside `MEMORY_FOR_EACH_BYTE` for each of its bytes.
    """

    name: str
    run: Run
    whole: Run
    seeds: Callable[[], list[bytes]]
    mutate: Callable[[bytes, Random], bytes]
    allowance_bytes: int
