"""A running node follows `active_bundle.json`: it finishes what it took in, then exchanges the networks.

The process that takes studies in follows what is requested, and says when it is in use; processes that only
work follow that. The old networks are let go before the new ones are loaded. What does not load or does not
pass its self-test is refused, and the old bundle loaded again.
"""

from __future__ import annotations

import gc
import logging
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from dicom_node.activation import ActivationBook, BundleChoice
from dicom_node.active_bundle import ActiveBundle
from dicom_node.analysis import BundleNotUsable, LoadedBundle
from dicom_node.errors import NodeError, describe_fault

logger = logging.getLogger(__name__)

LOOK_S = 2.0
RETRY_S = 60.0
"""After a bundle could not be loaded, until that is tried again; what a person asks for is tried at once."""
_POLL_S = 0.25

Load = Callable[[BundleChoice], LoadedBundle]


@dataclass(frozen=True)
class BundleState:
    """What a person asks about: names of the bundle in use and of one that is to follow, and what is wrong.

    `switching` is true while the node finishes what it took in, and while it loads.
    """

    in_use: str
    requested: str | None
    switching: bool
    problem: str | None


def load_first(
    book: ActivationBook, load: Load, setting: str, *, leads: bool
) -> tuple[BundleChoice, LoadedBundle]:
    """The bundle that a process begins with: the activated one, else that of the setting.

    With `leads`, in the process that takes studies in, a switch that was not made before is made now.

    Raises
    ------
    BundleNotUsable
        If it cannot be used.
    """
    activation = book.read()
    if activation is None:
        loaded = load(BundleChoice(setting, ""))
        return BundleChoice(setting, loaded.analyser.identity.digest), loaded
    if leads and activation.pending:
        try:
            loaded = load(activation.requested)
        except Exception as error:  # noqa: BLE001 - whatever it is, the bundle that was in use is still there
            book.refused(activation.requested, _words(activation.requested, error))
        else:
            book.switched(activation.requested)
            return activation.requested, loaded
    return activation.in_use, load(activation.in_use)


class BundleSwitch:
    """A thread that exchanges the bundle in `active` when it is told to.

    Parameters
    ----------
    current
        The choice that is loaded in `active`.
    load
        Gives the networks of a choice; raises what it likes.
    drained
        In the process that takes studies in: whether all that was taken in has ended. None in the others.
    """

    def __init__(
        self,
        active: ActiveBundle,
        current: BundleChoice,
        book: ActivationBook,
        load: Load,
        drained: Callable[[], bool] | None,
    ) -> None:
        self._active = active
        self._current = current
        self._book = book
        self._load = load
        self._drained = drained
        self._failed: BundleChoice | None = None
        self._not_before = 0.0
        self._problem: str | None = None
        self._switching = False
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bundle-switch", daemon=True)

    @property
    def state(self) -> BundleState:
        """How it stands."""
        try:
            activation = self._book.read()
        except NodeError as error:
            return BundleState(self._current.name, None, self._switching, str(error))
        requested = activation.requested.name if activation is not None and activation.pending else None
        refused = activation.refused if activation is not None else None
        return BundleState(self._current.name, requested, self._switching, self._problem or refused)

    @property
    def switching(self) -> bool:
        """Whether a switch is under way."""
        return self._switching

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; a switch that was not made is made at the next start."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():  # it was never started where another part did not come up
            self._thread.join()

    def catch_up(self, digest: str) -> None:
        """Where the bundle of this digest is in use and not loaded here yet, wait until it is.

        A worker may be given a study of the new bundle before it looked into the file.

        Raises
        ------
        BundleNotUsable
            If it could not be loaded.
        """
        while self._drained is None and self._active.identity.digest != digest:
            activation = self._book.read()
            if activation is None or activation.in_use.digest != digest:
                return
            if self._failed == activation.in_use or self._stop.is_set():
                raise BundleNotUsable(f"this worker does not have the bundle {activation.in_use.name}")
            self._wake.set()
            time.sleep(_POLL_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            try:
                self._look()
            except Exception:
                # A file or ledger that cannot be read now; what was begun is tried again at the next look.
                logger.exception("the active bundle could not be followed")
            self._wake.wait(LOOK_S)

    def _look(self) -> None:
        activation = self._book.read()
        if activation is None:
            return
        leads = self._drained is not None
        asked = leads and activation.pending
        target = activation.requested if asked else activation.in_use
        if self._active.loaded and self._active.identity.digest == target.digest:
            self._problem = None
            if leads:
                self._book.switched(target)
            return
        if not asked and time.monotonic() < self._not_before:
            return
        self._switching = True
        try:
            self._switch(target)
        finally:
            self._switching = False

    def _switch(self, target: BundleChoice) -> None:
        logger.info("another bundle is to be used", extra={"bundle": target.name})
        with self._active.taking_in.closed():
            while self._drained is not None and not self._drained():
                if self._stop.wait(_POLL_S):
                    return
            with self._active.reading.closed():
                used = self._exchange(target)
            # Before anything is taken in again: workers follow what stands there.
            if used and self._drained is not None:
                self._book.switched(target)

    def _exchange(self, target: BundleChoice) -> bool:
        """Load the bundle in place of the loaded one; if that fails, load that one again."""
        self._active.let_go()
        _free_memory()
        try:
            self._active.put(self._load(target))
        except Exception as error:  # noqa: BLE001 - whatever it is, the study after it needs an answer
            self._failed, self._not_before = target, time.monotonic() + RETRY_S
            self._problem = _words(target, error)
            if self._drained is not None:
                self._book.refused(target, self._problem)
        else:
            self._current, self._failed, self._problem = target, None, None
            logger.info("another bundle is in use", extra={"bundle": target.name})
            return True
        _free_memory()
        try:
            self._active.put(self._load(self._current))
        except Exception as error:
            self._problem = f"no bundle is loaded: {describe_fault(error)}"
            logger.exception("the bundle that was in use could not be loaded again")
        return False


def _words(choice: BundleChoice, error: Exception) -> str:
    """Why a bundle is not used, in a sentence and in the log."""
    logger.error("a bundle is not used", exc_info=error, extra={"bundle": choice.name})
    return f"the bundle {choice.name} is not used: {describe_fault(error)}"


def _free_memory() -> None:
    """Give the memory of networks that nobody holds back to the device."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
