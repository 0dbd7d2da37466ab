"""What holds for one frame of a multi-frame instance (PS3.3 C.7.6.16), and what tells frames apart.

A frame's own functional groups come before the shared ones, and those before the top level; an instance of
one frame has the top level alone, and is read in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from inference import dataset_values as values


@dataclass(frozen=True)
class FunctionalGroups:
    """The functional groups of one frame."""

    frame: Dataset
    shared: Dataset
    top: Dataset

    @classmethod
    def of(cls, dataset: Dataset) -> list[FunctionalGroups]:
        """Those of each frame of a multi-frame instance; one with the top level alone of any other."""
        shared = next(iter(values.items(dataset, "SharedFunctionalGroupsSequence")), Dataset())
        frames = values.items(dataset, "PerFrameFunctionalGroupsSequence") or [Dataset()]
        return [cls(frame, shared, dataset) for frame in frames]

    def holder(self, group: str, keyword: str) -> Dataset:
        """The dataset that holds `keyword`, empty if none does."""
        for level in (self.frame, self.shared):
            for item in values.items(level, group):
                if keyword in item:
                    return item
        return self.top if keyword in self.top else Dataset()

    def text(self, group: str, keyword: str) -> str:
        """All values of an attribute as one text."""
        return values.text(self.holder(group, keyword), keyword)

    def texts(self, group: str, keyword: str) -> tuple[str, ...]:
        """All values of an attribute as text."""
        return values.texts(self.holder(group, keyword), keyword)

    def number(self, group: str, keyword: str) -> float | None:
        """The one finite number that an attribute has."""
        return values.number(self.holder(group, keyword), keyword)

    def numbers(self, group: str, keyword: str, count: int) -> tuple[float, ...] | None:
        """Exactly so many finite numbers, else None."""
        return values.numbers(self.holder(group, keyword), keyword, count)


@dataclass(frozen=True)
class FrameTraits:
    """By what images of one series are told apart: those of two scans, phases, stacks or reconstructions.

    `phase` joins what tells apart images of one position (time, cardiac phase). `stack_id` names a stack of
    frames within a multi-frame instance, "" elsewhere. Lengths are mm, `kvp` is kV.
    """

    image_type: tuple[str, ...]
    acquisition_number: int | None
    acquisition_time: str
    stack_id: str
    phase: str
    kvp: float | None
    kernel: str
    slice_thickness_mm: float | None
    rescale_type: str

    @classmethod
    def of(cls, groups: FunctionalGroups, *, multi_frame: bool) -> FrameTraits:
        """The traits of one frame of a multi-frame instance, or of an instance of one frame."""
        top = groups.top
        image_type = values.texts(top, "ImageType")
        number = values.integer(top, "AcquisitionNumber")
        moment = values.text(top, "AcquisitionDateTime") or (
            values.text(top, "AcquisitionDate") + values.text(top, "AcquisitionTime")
        )
        time = values.text(top, "TemporalPositionIdentifier")
        if multi_frame:
            image_type = (
                *image_type,
                *groups.texts("CTImageFrameTypeSequence", "FrameType"),
                values.text(top, "VolumeBasedCalculationTechnique"),
            )
            own = groups.number("FrameContentSequence", "FrameAcquisitionNumber")
            number = number if own is None else int(own)
            moment = groups.text("FrameContentSequence", "FrameAcquisitionDateTime") or moment
            time = groups.text("FrameContentSequence", "TemporalPositionIndex") or time
        heart = groups.text("CardiacSynchronizationSequence", "NominalPercentageOfCardiacPhase")
        return cls(
            image_type=tuple(value.upper() for value in image_type),
            acquisition_number=number,
            acquisition_time=moment,
            stack_id=groups.text("FrameContentSequence", "StackID") if multi_frame else "",
            phase="/".join((time, heart, values.text(top, "TriggerTime"))),
            kvp=groups.number("CTXRayDetailsSequence", "KVP"),
            kernel=groups.text("CTReconstructionSequence", "ConvolutionKernel"),
            slice_thickness_mm=groups.number("PixelMeasuresSequence", "SliceThickness"),
            rescale_type=groups.text("PixelValueTransformationSequence", "RescaleType").upper(),
        )
