"""`dicom-node predict`: an answer in the shape of `POST /predict`, whatever happens."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dicom_node.answer import failure_answer, notice, success_answer
from dicom_node.errors import describe_fault
from dicom_node.local_prediction import find_bundle, predict_paths
from dicom_node.progress import stage_progress
from dicom_node.settings import Settings
from dicom_node.terminal import say
from inference.errors import Refusal
from inference.fusion import FusionError
from models.bundle import BundleError


def predict_answer(
    paths: Sequence[Path],
    settings: Settings,
    *,
    bundle: str | None,
    details: bool,
    study_uid: str | None = None,
) -> tuple[dict[str, Any], bool]:
    """The answer, and whether it is one of success; bar and demonstration's notice go to standard error."""
    started = time.perf_counter()

    def failure(code: str, sentence: str, **more: Any) -> tuple[dict[str, Any], bool]:
        return failure_answer(code, sentence, time.perf_counter() - started, **more), False

    try:
        with stage_progress() as progress:
            folder = find_bundle(settings, bundle)
            result = predict_paths(paths, settings, folder, progress, study_uid=study_uid)
    except Refusal as refusal:
        series = getattr(refusal, "decisions", ()) if details else None
        return failure(refusal.code.value, refusal.sentence, remedy=refusal.remedy, series=series)
    except FileNotFoundError as error:
        return failure("not_found", str(error))
    except (BundleError, FusionError) as error:
        return failure(error.code.value, error.message)
    except Exception as error:  # noqa: BLE001 - a program reads this output: it gets JSON, without a tag's value
        return failure("fault", describe_fault(error))
    words = notice(result)
    if words is not None:
        say(words, err=True)
    return success_answer(result, time.perf_counter() - started, details=details), True
