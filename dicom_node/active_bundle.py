"""The bundle of the moment: what keys are made for and studies are read by, until another takes its place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dicom_node.analysis import BundleNotUsable, LoadedBundle
from dicom_node.errors import NodeError
from dicom_node.gate import Gate
from inference.study_result import BundleIdentity, Runtime


class BundleReplaced(NodeError):  # noqa: N818 - as the rest of its tree
    """The bundle that work was entered for is no longer the one that answers."""

    code = "bundle_replaced"
    sentence = "Another bundle was activated before the study was analysed."
    remedy = "A study of the archive is analysed anew by itself: see its next entry. Upload an upload again."


class ActiveBundle:
    """Holds the loaded bundle of this process.

    Keys are made and work is entered inside `taking_in`, studies are read inside `held`; a switch closes
    both. `identity` and `runtime` then change between two studies, never within one.
    """

    def __init__(self, loaded: LoadedBundle) -> None:
        self.taking_in = Gate()
        self.reading = Gate()
        self._loaded: LoadedBundle | None = loaded
        self._identity = loaded.analyser.identity
        self._runtime = loaded.analyser.runtime

    @property
    def identity(self) -> BundleIdentity:
        """The bundle that answers; while another is loaded, the one before."""
        return self._identity

    @property
    def runtime(self) -> Runtime:
        """What computes."""
        loaded = self._loaded
        return loaded.analyser.runtime if loaded is not None else self._runtime

    @property
    def loaded(self) -> bool:
        """Whether there are networks."""
        return self._loaded is not None

    @contextmanager
    def held(self, digest: str) -> Iterator[LoadedBundle]:
        """The bundle, which stays while it is held; waits for a switch under way.

        Parameters
        ----------
        digest
            Of the bundle that the work was entered for; "" where that was not recorded.

        Raises
        ------
        BundleReplaced
            If another bundle answers now.
        BundleNotUsable
            If none does.
        """
        with self.reading.passing():
            loaded = self._loaded
            if loaded is None:
                raise BundleNotUsable("no bundle is loaded; the log says why")
            if digest not in {"", self._identity.digest}:
                raise BundleReplaced(BundleReplaced.sentence)
            yield loaded

    def let_go(self) -> None:
        """Drop the networks, so that others find room; only with both gates closed."""
        self._runtime = self.runtime
        self._loaded = None

    def put(self, loaded: LoadedBundle) -> None:
        """Answer with this bundle from now on; only with both gates closed."""
        self._loaded = loaded
        self._identity = loaded.analyser.identity
        self._runtime = loaded.analyser.runtime
