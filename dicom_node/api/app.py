"""The HTTP application over one running node; nothing here is global."""

from __future__ import annotations

from fastapi import Depends, FastAPI
from fastapi_offline import FastAPIOffline
from starlette.middleware.trustedhost import TrustedHostMiddleware

from dicom_node.api.auth import LOOPBACK_HOSTS, bearer_guard
from dicom_node.api.dicomweb import dicomweb_router
from dicom_node.api.errors import install_error_handlers
from dicom_node.api.health import health_router
from dicom_node.api.metrics import metrics_router
from dicom_node.api.predict import predict_router
from dicom_node.api.studies import studies_router
from dicom_node.api.viewer import add_viewer_files, viewer_router
from dicom_node.node import Node
from dicom_node.viewer.files import ViewerFiles
from dicom_node.web.router import pages_router
from dicom_node.web.words import page_words
from inference.version import SOFTWARE_VERSION


def create_app(node: Node) -> FastAPI:
    """The application; the caller starts and stops `node`.

    With a token configured, everything but `/health`, `/ready` and `/docs` asks for it. Without one, only
    requests addressed to this machine are served, so that no web page in a browser here can reach the node by
    a name of its own.
    """
    token = node.settings.http.bearer_token()
    # A hospital's network reaches no content delivery network: the scripts of `/docs` come from a package.
    app = FastAPIOffline(title="dicom-node", version=SOFTWARE_VERSION, redoc_url=None)
    install_error_handlers(app)
    if token is None:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=LOOPBACK_HOSTS)
    guarded = [Depends(bearer_guard(token))]
    app.include_router(health_router(node))
    for router in (predict_router(node), studies_router(node), metrics_router(node)):
        app.include_router(router, dependencies=guarded)
    app.include_router(pages_router(node))
    if node.settings.viewer.enabled:
        files = ViewerFiles(node.settings.viewer.folder)
        app.include_router(dicomweb_router(node.settings.orthanc), dependencies=guarded)
        app.include_router(viewer_router(files, token, page_words(node.settings)))
        add_viewer_files(app, files)
    return app
