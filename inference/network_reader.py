"""The networks of a bundle behind one lock: one study at a time, however many are being prepared."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

from inference.exact_float32 import compute_exactly_in_float32
from inference.findings import finding_saliency
from inference.members import Ensemble, Reading
from inference.memory import OUT_OF_MEMORY, is_out_of_memory, release_memory
from inference.memory_use import MemberMemory, MemoryMeter
from inference.preparation import PreparedStudy
from inference.runtime import describe_runtime
from inference.saliency import SaliencyMap
from inference.study_result import Runtime
from models.bundle import Bundle, load_bundle
from models.precision import Precision

AnswerT = TypeVar("AnswerT")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class NetworkAnswer:
    """What the networks say about a study, the saliency of each finding by name, and what computed it."""

    reading: Reading
    saliency: dict[str, SaliencyMap]
    runtime: Runtime


class NetworkReader:
    """Reads prepared studies with the networks of one bundle, which stay loaded.

    Where a GPU's memory does not suffice after every step of `inference.memory`, the study is read on the
    CPU in float32, if that is allowed. The weights are then read anew, since those on the GPU may have been
    rounded, and let go afterwards.
    """

    def __init__(self, bundle: Bundle, *, device: str, precision: Precision, cpu_fallback: bool) -> None:
        if precision == "float32":
            compute_exactly_in_float32()
        self.ensemble = Ensemble(bundle, device=device)
        self.runtime = describe_runtime(device, precision)
        self._cpu_fallback = cpu_fallback and self.ensemble.device.type != "cpu"
        self._lock = threading.Lock()
        self._memory: tuple[MemberMemory, ...] = ()

    @property
    def memory(self) -> tuple[MemberMemory, ...]:
        """What each member takes, as last measured; empty before."""
        return self._memory

    def read(self, study: PreparedStudy, *, measure: bool = False) -> NetworkAnswer:
        """What the networks say; waits while they read another study.

        With `measure` the memory of each member is measured on the way.

        Raises
        ------
        torch.OutOfMemoryError, MemoryError, RuntimeError
            If the memory does not suffice after every step.
        """

        def read_with(ensemble: Ensemble) -> tuple[Reading, dict[str, SaliencyMap]]:
            meter = MemoryMeter(ensemble.device) if measure else None
            prepared = study.encoder_input
            reading = ensemble.read(prepared.tensor, study.plane_sources, study.stages, meter)
            with study.stages.measure("saliency"):
                saliency = ensemble.memory.whole(
                    lambda: finding_saliency(ensemble, reading, prepared, study.volume, study.lungs)
                )
            self._keep(meter)
            warnings = (*reading.warnings, *ensemble.memory.take_warnings())
            return replace(reading, warnings=warnings), saliency

        with self._lock:
            (reading, saliency), on_cpu = self._on_device_or_cpu(read_with)
            if not on_cpu:
                return NetworkAnswer(reading, saliency, self.runtime)
            before = self.ensemble.memory.take_warnings()
        sentence = (
            f"The memory of {self.runtime.device} did not suffice: this study was read on the CPU in float32."
        )
        reading = replace(reading, warnings=(*before, sentence, *reading.warnings))
        return NetworkAnswer(reading, saliency, describe_runtime("cpu", "float32"))

    def warm_up(self) -> tuple[MemberMemory, ...]:
        """Read an input of padding alone, unless a study was measured before, and say what each member took.

        Raises
        ------
        torch.OutOfMemoryError, MemoryError, RuntimeError
            As `read`.
        """
        spec = self.ensemble.bundle.manifest.input

        def read_with(ensemble: Ensemble) -> None:
            meter = MemoryMeter(ensemble.device)
            ensemble.read(torch.full(spec.shape, -1.0), ["padding"] * spec.shape[0], meter=meter)
            self._keep(meter)

        with self._lock:
            if not self._memory:
                self._on_device_or_cpu(read_with)
        return self._memory

    def _keep(self, meter: MemoryMeter | None) -> None:
        if meter is None:
            return
        self._memory = tuple(meter.members)
        for item in self._memory:
            logger.info(
                "memory of a member",
                extra={
                    "member": item.member,
                    "peak_mib": item.peak_bytes >> 20,
                    "seconds": round(item.seconds, 3),
                },
            )

    def _on_device_or_cpu(self, work: Callable[[Ensemble], AnswerT]) -> tuple[AnswerT, bool]:
        """The answer of `work`, and whether it was given on the CPU instead of the device."""
        try:
            return work(self.ensemble), False
        except OUT_OF_MEMORY as error:
            if not is_out_of_memory(error) or not self._cpu_fallback:
                raise
        logger.warning("memory ran out: this study goes to the CPU", extra={"device": self.runtime.device})
        release_memory(self.ensemble.device)
        return work(Ensemble(load_bundle(self.ensemble.bundle.folder))), True
