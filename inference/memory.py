"""Less memory instead of a failed study: what is done, step by step, when a device's memory runs out.

Half as many slices at a time, down to one; then, on a GPU, networks that do not compute wait in the main
memory. What was stepped down to stays so for later studies of the process. The last step, a study on the CPU,
is that of `inference.network_reader`.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

SLICE_BATCH = 16

OUT_OF_MEMORY = (MemoryError, RuntimeError)
"""The exceptions among which those about memory are; `is_out_of_memory` tells which they are."""

# Torch has a class of its own for its caching allocator on a GPU alone.
_WORDS = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",  # the same on Windows
    "CUDA error: out of memory",  # the driver's own allocations
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "std::bad_alloc",
)

AnswerT = TypeVar("AnswerT")

logger = logging.getLogger(__name__)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, of a GPU or of the machine."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)


def release_memory(device: torch.device) -> None:
    """Give back what nothing holds any more.

    To be called outside of the `except` block: the error holds the frames, and they what they computed.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


class MemorySteps:
    """The networks of one device and how much of its memory they take at once.

    One thread at a time.

    Attributes
    ----------
    slice_batch
        Slices that a slice network is given at a time.
    offloading
        Whether networks that do not compute wait in the main memory.
    """

    def __init__(self, device: torch.device, networks: Sequence[nn.Module]) -> None:
        self.slice_batch = SLICE_BATCH
        self.offloading = False
        self._device = device
        self._networks = tuple(networks)
        self._warnings: list[str] = []

    def take_warnings(self) -> tuple[str, ...]:
        """A sentence for every step that was taken since the last call."""
        warnings, self._warnings = tuple(self._warnings), []
        return warnings

    def bring(self, *needed: nn.Module) -> None:
        """Let these networks be on the device, and where memory is short no others."""
        if not self.offloading:
            return
        # Weights that are made in inference mode could not be differentiated through.
        with torch.inference_mode(False), torch.no_grad():
            for network in self._networks:
                if all(network is not other for other in needed):
                    network.to("cpu")
            for network in needed:
                network.to(self._device)

    def whole(self, work: Callable[[], AnswerT]) -> AnswerT:
        """The answer of work that cannot be divided; it is done again from its start where memory ran out.

        `work` calls `bring` before it computes.

        Raises
        ------
        Exception
            What `work` raises: an error about memory when no step is left, any other at once.
        """
        while True:
            try:
                return work()
            except OUT_OF_MEMORY as error:
                if not is_out_of_memory(error) or not self._can_offload:
                    raise
            self._step_down()

    def batches(self, work: Callable[[slice], Tensor], count: int) -> Tensor:
        """The answers (count, ...) of work on slices [start, stop) of `count`, a batch at a time.

        Answers of a batch do not depend on which slices are in it, so those that were made before memory ran
        out are kept. Errors as for `whole`.
        """
        answers: list[Tensor] = []
        done = 0
        while done < count:
            batch = slice(done, min(done + self.slice_batch, count))
            try:
                answers.append(work(batch))
                done = batch.stop
                continue
            except OUT_OF_MEMORY as error:
                if not is_out_of_memory(error) or not (batch.stop - batch.start > 1 or self._can_offload):
                    raise
            self._step_down(batch.stop - batch.start)
        return torch.cat(answers)

    @property
    def _can_offload(self) -> bool:
        return self._device.type != "cpu" and not self.offloading

    def _step_down(self, slices: int = 1) -> None:
        """Take the next step after `slices` slices at once were too many."""
        if slices > 1:
            self.slice_batch = slices // 2
            step = f"slices are computed {self.slice_batch} at a time"
        else:
            self.offloading = True
            step = "networks wait in the main memory while others compute"
        self._warnings.append(f"The memory of {self._device} ran out: from now on {step}.")
        logger.warning(
            "memory ran out",
            extra={
                "device": str(self._device),
                "slice_batch": self.slice_batch,
                "offloading": self.offloading,
            },
        )
        release_memory(self._device)
