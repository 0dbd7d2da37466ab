"""Which devices made an object: TID 1004, TID 4019 and ContributingEquipmentSequence say the same of each.

IHE AI Results asks for one item of ContributingEquipmentSequence for each algorithm, with purpose (109102,
DCM, "Processing Equipment") and a DeviceUID, equal to the device observer and the algorithm identification.

Where a report says what computed its answer:

| what                         | where                                                                      |
|------------------------------|----------------------------------------------------------------------------|
| software version             | SoftwareVersions of the object and of its equipment, version of TID 4019   |
| bundle                       | parameters `bundle`, `bundle_digest` of TID 4019 in the group of the study |
| calibration                  | parameter `calibration`; its cohort and figures in a comment               |
| device, its own name         | parameters `device` and `device_name`                                      |
| precision                    | parameter `precision`                                                      |
| torch, CUDA, driver          | parameters `torch_version`, `cuda_version`, `driver_version`               |
| all of these in one sentence | a comment in the report's Qualitative Evaluations, and, in key images too, |
|                              | ContributionDescription of the ensemble's equipment                        |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from highdicom.sr import (
    AlgorithmIdentification,
    DeviceObserverIdentifyingAttributes,
    ObservationContext,
    ObserverContext,
)
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from inference.study_result import Algorithm, StudyResult
from structured_report.codes import concept
from structured_report.identifiers import device_uid
from structured_report.language import Words

PRODUCT = "dicom-node"
MANUFACTURER = "dicom-node project"
ENSEMBLE = "node"  # name of the ensemble among the result's algorithms

_LO, _ST = 64, 1024  # most characters of a value


@dataclass(frozen=True)
class Device:
    """One algorithm as a device.

    `uid` identifies it within its installation, `model` and `version` are its name and version, `parameters`
    what it ran with, as "name=value", `contribution` what it did, in words.
    """

    uid: str
    model: str
    version: str
    parameters: tuple[str, ...]
    contribution: str

    def identification(self, *parameters: str) -> AlgorithmIdentification:
        """TID 4019, with `parameters` as "name=value"."""
        return AlgorithmIdentification(
            name=self.model,
            version=self.version,
            manufacturer=MANUFACTURER,
            parameters=parameters or None,
        )

    def contributing_equipment(self, when: datetime) -> Dataset:
        """An item of ContributingEquipmentSequence (PS3.3 C.12.1.1)."""
        item = Dataset()
        item.PurposeOfReferenceCodeSequence = [concept("processing_equipment")]
        item.Manufacturer = MANUFACTURER
        item.ManufacturerModelName = self.model
        item.SoftwareVersions = self.version
        item.DeviceUID = self.uid
        item.ContributionDateTime = when.strftime("%Y%m%d%H%M%S.%f%z")
        item.ContributionDescription = self.contribution
        return item


def devices(result: StudyResult, installation_uid: str, words: Words) -> tuple[Device, ...]:
    """One device for each algorithm of the result, the ensemble first."""
    algorithms = sorted(result.algorithms, key=lambda algorithm: algorithm.name != ENSEMBLE)
    if not algorithms or algorithms[0].name != ENSEMBLE:
        algorithms.insert(0, Algorithm(ENSEMBLE, result.runtime.software_version))
    return tuple(_device(algorithm, result, installation_uid, words) for algorithm in algorithms)


def _device(algorithm: Algorithm, result: StudyResult, installation_uid: str, words: Words) -> Device:
    is_ensemble = algorithm.name == ENSEMBLE
    parameters = algorithm.parameters | (_circumstances(result) if is_ensemble else {})
    return Device(
        uid=device_uid(installation_uid, algorithm.name),
        model=(PRODUCT if is_ensemble else algorithm.name)[:_LO],
        version=algorithm.version[:_LO],
        parameters=tuple(f"{name}={value}" for name, value in parameters.items() if value),
        contribution=(computed_by(result, words) if is_ensemble else words.sentence("algorithm"))[:_ST],
    )


def _circumstances(result: StudyResult) -> dict[str, str]:
    """What the ensemble computed with; "" where there is no such thing, as CUDA on a processor."""
    bundle, runtime = result.bundle, result.runtime
    return {
        "bundle": f"{bundle.name} {bundle.version}",
        "bundle_digest": bundle.digest,
        "calibration": bundle.calibration,
        "device": runtime.device,
        "device_name": runtime.device_name,
        "precision": runtime.precision,
        "torch_version": runtime.torch_version,
        "cuda_version": runtime.cuda_version,
        "driver_version": runtime.driver_version,
    }


def computed_by(result: StudyResult, words: Words) -> str:
    """What computed the answer, in a sentence."""
    bundle, runtime = result.bundle, result.runtime
    libraries = {
        "torch": runtime.torch_version,
        "CUDA": runtime.cuda_version,
        "driver": runtime.driver_version,
    }
    return words.sentence(
        "computed",
        product=PRODUCT,
        version=runtime.software_version,
        bundle=f"{bundle.name} {bundle.version}",
        digest=bundle.digest,
        calibration=bundle.calibration,
        device=f"{runtime.device_name} ({runtime.device})" if runtime.device_name else runtime.device,
        precision=runtime.precision,
        libraries=", ".join(f"{name} {version}" for name, version in libraries.items() if version),
    )


def observation_context(ensemble: Device) -> ObservationContext:
    """TID 1001 with the ensemble as device observer (TID 1004)."""
    attributes = DeviceObserverIdentifyingAttributes(
        uid=ensemble.uid, name=ensemble.model, manufacturer_name=MANUFACTURER, model_name=ensemble.model
    )
    observer = ObserverContext(concept("device"), observer_identifying_attributes=attributes)
    return ObservationContext(observer_device_context=observer)


def equipment_sequence(
    scanner: Sequence[DataElement], algorithms: Sequence[Device], when: datetime
) -> list[Dataset]:
    """ContributingEquipmentSequence: the scanner, where the source names it, then every algorithm."""
    items = [device.contributing_equipment(when) for device in algorithms]
    if scanner:
        acquisition = Dataset()
        acquisition.PurposeOfReferenceCodeSequence = [concept("acquisition_equipment")]
        for element in scanner:
            acquisition.add(element)
        items.insert(0, acquisition)
    return items
