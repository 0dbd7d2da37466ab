"""What holds for one frame of a multi-frame instance (PS3.3 C.7.6.16), and what tells frames apart.

A frame's own functional groups come before the shared ones, and those before the top level; an instance of
one frame has the top level alone, and is read in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from inference import dataset_values as values

_CONVERTED = "UnassignedPerFrameConvertedAttributesSequence"
_CONVERTED_SHARED = "UnassignedSharedConvertedAttributesSequence"


@dataclass(frozen=True)
class FunctionalGroups:
    """The functional groups of one frame.

    `converted` holds what a conversion from single frames keeps aside because it belongs to no group of its
    own: the frame's and the shared unassigned converted attributes.
    """

    frame: Dataset
    shared: Dataset
    top: Dataset
    converted: tuple[Dataset, ...] = ()

    @classmethod
    def of(cls, dataset: Dataset) -> list[FunctionalGroups]:
        """Those of each frame of a multi-frame instance; one with the top level alone of any other."""
        shared = next(iter(values.items(dataset, "SharedFunctionalGroupsSequence")), Dataset())
        frames = values.items(dataset, "PerFrameFunctionalGroupsSequence") or [Dataset()]
        common = values.items(shared, _CONVERTED_SHARED)
        return [cls(frame, shared, dataset, (*values.items(frame, _CONVERTED), *common)) for frame in frames]

    def holder(self, group: str, keyword: str) -> Dataset:
        """The dataset that holds `keyword`, empty if none does."""
        for level in (self.frame, self.shared) if group else ():
            for item in values.items(level, group):
                if keyword in item:
                    return item
        for item in self.converted:
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

    `phase` joins what tells apart images of one position (time, cardiac and respiratory phase). `stack_id`
    names a stack of frames within a multi-frame instance, "" elsewhere. `content_time` is when the pixels
    were made. `rescaled`: the header says how stored values become others. Lengths are mm, `kvp` is kV.
    """

    image_type: tuple[str, ...]
    frame_of_reference: str
    acquisition_number: int | None
    acquisition_time: str
    content_time: str
    stack_id: str
    phase: str
    kvp: float | None
    kernel: str
    slice_thickness_mm: float | None
    rescale_type: str
    rescaled: bool

    @classmethod
    def of(cls, groups: FunctionalGroups, *, multi_frame: bool) -> FrameTraits:
        """The traits of one frame of a multi-frame instance, or of an instance of one frame."""
        top = groups.top
        image_type = values.texts(top, "ImageType")
        number = values.integer(groups.holder("", "AcquisitionNumber"), "AcquisitionNumber")
        moment = groups.text("", "AcquisitionDateTime") or (
            groups.text("", "AcquisitionDate") + groups.text("", "AcquisitionTime")
        )
        time = groups.text("", "TemporalPositionIdentifier")
        if multi_frame:
            image_type = (
                *image_type,
                *groups.texts("CTImageFrameTypeSequence", "FrameType"),
                groups.text("CTImageFrameTypeSequence", "VolumeBasedCalculationTechnique"),
            )
            own = groups.number("FrameContentSequence", "FrameAcquisitionNumber")
            number = number if own is None else int(own)
            moment = groups.text("FrameContentSequence", "FrameAcquisitionDateTime") or moment
            time = groups.text("FrameContentSequence", "TemporalPositionIndex") or time
        heart = groups.text("CardiacSynchronizationSequence", "NominalPercentageOfCardiacPhase")
        breath = groups.text("RespiratorySynchronizationSequence", "NominalPercentageOfRespiratoryPhase")
        rescale = "PixelValueTransformationSequence"
        return cls(
            image_type=tuple(value.upper() for value in image_type),
            frame_of_reference=values.text(top, "FrameOfReferenceUID"),
            acquisition_number=number,
            acquisition_time=moment,
            content_time=values.text(top, "ContentDate") + values.text(top, "ContentTime"),
            stack_id=groups.text("FrameContentSequence", "StackID") if multi_frame else "",
            phase="/".join((time, heart, breath, groups.text("", "TriggerTime"))),
            kvp=groups.number("CTXRayDetailsSequence", "KVP"),
            kernel=groups.text("CTReconstructionSequence", "ConvolutionKernel"),
            slice_thickness_mm=groups.number("PixelMeasuresSequence", "SliceThickness"),
            rescale_type=groups.text(rescale, "RescaleType").upper(),
            rescaled=any(
                groups.number(rescale, keyword) is not None
                for keyword in ("RescaleSlope", "RescaleIntercept")
            ),
        )
