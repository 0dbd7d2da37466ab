"""All pages of a node as one router."""

from __future__ import annotations

from fastapi import APIRouter

from dicom_node.node import Node
from dicom_node.web.images import images_router
from dicom_node.web.pages import create_pages
from dicom_node.web.sign_in import sign_in_router
from dicom_node.web.studies_page import studies_router
from dicom_node.web.study_page import study_router
from dicom_node.web.system_page import system_router


def pages_router(node: Node) -> APIRouter:
    """The pages, behind the node's token where it has one: a browser signs in with it once."""
    pages = create_pages(node)
    router = APIRouter()
    for part in (sign_in_router, studies_router, study_router, images_router, system_router):
        router.include_router(part(pages))
    return router
