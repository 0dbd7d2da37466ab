"""`app-config.js`: what the viewer is told about this node. It names no host, so nothing is sent to one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from structured_report.provenance import MANUFACTURER

DICOMWEB_ROOT = "/dicom-web"
VIEWER_PATH = "/viewer"
_SCRIPTS = Path(__file__).parent / "scripts"


def viewer_link(study_uid: str) -> str:
    """Where a study is opened, from a page of this node."""
    return f"{VIEWER_PATH}?StudyInstanceUIDs={study_uid}"


def app_config() -> str:
    """The script that the viewer's index loads before everything else."""
    labels = _script("measurement_labels").replace(
        "MANUFACTURER = ''", f"MANUFACTURER = {json.dumps(MANUFACTURER)}"
    )
    configuration = f"window.config = {json.dumps(_configuration(), indent=2)};\n"
    return "\n".join((configuration, _script("label_places"), labels, _script("report_opening")))


def _script(name: str) -> str:
    return (_SCRIPTS / f"{name}.js").read_text(encoding="utf-8")


def _configuration() -> dict[str, Any]:
    return {
        "name": "dicom-node",
        "routerBasename": "/",
        # What the build holds by default: among them the extension that reads measurement reports (TID 1500).
        "extensions": [],
        "modes": [],
        "customizationService": [
            # A radiologist came to see one study, not to be shown around.
            {"ohif.tours": {"$set": []}},
            # Key images are no film: its controls would cover their headline.
            {"autoCineModalities": {"$set": ["US"]}},
        ],
        # The node's own page lists studies; the proxy answers no search over all patients.
        "showStudyList": False,
        "measurementTrackingMode": "none",
        "disableConfirmationPrompts": True,
        "investigationalUseDialog": {"option": "always"},
        "showPatientInfo": "visible",
        "showErrorDetails": "production",
        "showWarningMessageForCrossOrigin": False,
        "showCPUFallbackMessage": True,
        "showLoadingIndicator": True,
        "strictZSpacingForVolumeViewport": True,
        "allowMultiSelectExport": False,
        "maxNumberOfWebWorkers": 3,
        "maxNumRequests": {"interaction": 100, "thumbnail": 5, "prefetch": 10},
        "defaultDataSourceName": "dicomweb",
        "dataSources": [
            {
                "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
                "sourceName": "dicomweb",
                "configuration": {
                    "friendlyName": "DICOM node",
                    "name": "dicom-node",
                    "qidoRoot": DICOMWEB_ROOT,
                    "wadoRoot": DICOMWEB_ROOT,
                    "qidoSupportsIncludeField": False,
                    "supportsFuzzyMatching": False,
                    "supportsWildcard": False,
                    "supportsReject": False,
                    "dicomUploadEnabled": False,
                    "imageRendering": "wadors",
                    "thumbnailRendering": "wadors",
                    "enableStudyLazyLoad": True,
                    "omitQuotationForMultipartRequest": True,
                    "bulkDataURI": {"enabled": True},
                },
            }
        ],
    }
