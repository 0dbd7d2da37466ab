"""Which devices made an object: TID 1004, TID 4019 and ContributingEquipmentSequence say the same of each.

IHE AI Results asks for one item of ContributingEquipmentSequence for each algorithm, with purpose (109102,
DCM, "Processing Equipment") and a DeviceUID, equal to the device observer and the algorithm identification.
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

PRODUCT = "dicom-node"
MANUFACTURER = "dicom-node project"
ENSEMBLE = "node"  # name of the ensemble among the result's algorithms

_LO = 64


@dataclass(frozen=True)
class Device:
    """One algorithm as a device.

    `uid` identifies it within its installation, `model` and `version` are its name and version, `parameters`
    what it ran with, as "name=value".
    """

    uid: str
    model: str
    version: str
    parameters: tuple[str, ...]

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
        item.ContributionDescription = "Algorithm that computed the reported results"
        return item


def devices(result: StudyResult, installation_uid: str) -> tuple[Device, ...]:
    """One device for each algorithm of the result, the ensemble first."""
    algorithms = sorted(result.algorithms, key=lambda algorithm: algorithm.name != ENSEMBLE)
    if not algorithms or algorithms[0].name != ENSEMBLE:
        algorithms.insert(0, Algorithm(ENSEMBLE, result.runtime.software_version))
    return tuple(_device(algorithm, result, installation_uid) for algorithm in algorithms)


def _device(algorithm: Algorithm, result: StudyResult, installation_uid: str) -> Device:
    parameters = dict(algorithm.parameters)
    if algorithm.name == ENSEMBLE:
        bundle = result.bundle
        parameters |= {"bundle": f"{bundle.name} {bundle.version}", "bundle_digest": bundle.digest}
    return Device(
        uid=device_uid(installation_uid, algorithm.name),
        model=(PRODUCT if algorithm.name == ENSEMBLE else algorithm.name)[:_LO],
        version=algorithm.version[:_LO],
        parameters=tuple(f"{name}={value}" for name, value in parameters.items()),
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
