"""Bundles that cost nothing to load: a stand-in analyser for each."""

from __future__ import annotations

import hashlib
from pathlib import Path

from dicom_node.activation import ActivationBook, BundleChoice
from dicom_node.analysis import BundleNotUsable, LoadedBundle
from dicom_node.settings import Settings
from tests.dicom_node.stand_in import StandInAnalyser


class Shelf:
    """Bundles below `folder`; those in `broken` do not load, `loads` says what was loaded in which order."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.folder = folder
        self.broken: set[str] = set()
        self.loads: list[str] = []
        self.analysers: dict[str, StandInAnalyser] = {}
        for name in names:
            (folder / name).mkdir(parents=True)
            (folder / name / "bundle.toml").write_text(f'name = "{name}"')

    def choice(self, name: str) -> BundleChoice:
        return BundleChoice(
            name, hashlib.sha256((self.folder / name / "bundle.toml").read_bytes()).hexdigest()
        )

    def load(self, settings: Settings, folder: Path) -> LoadedBundle:
        name = folder.name
        self.loads.append(name)
        if name in self.broken:
            raise BundleNotUsable(f"self_test_failed: {name} does not reproduce its scores")
        analyser = self.analysers.setdefault(name, StandInAnalyser(digest=self.choice(name).digest))
        return LoadedBundle(analyser)

    def request(self, data_folder: Path, name: str, in_use: str = "a") -> None:
        ActivationBook(data_folder).request(self.choice(name), self.choice(in_use))
