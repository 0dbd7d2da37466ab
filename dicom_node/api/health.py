"""`GET /health`: the process answers. `GET /ready`: it can work. Both are open to all."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from dicom_node.node import Node


def health_router(node: Node) -> APIRouter:
    """Liveness and readiness of a node."""
    router = APIRouter(tags=["health"])

    @router.head("/health", include_in_schema=False)
    @router.get("/health")
    async def health() -> dict[str, str]:
        """The HTTP server answers."""
        return {"status": "healthy"}

    @router.head("/ready", include_in_schema=False)
    @router.get("/ready")
    def ready() -> JSONResponse:
        """200 where studies are taken, recorded, and the archive answers, else 503; with what is known."""
        state = node.health()
        able = state.ready and state.archive_reachable and state.database_problem is None
        return JSONResponse(asdict(state), status_code=200 if able else 503)

    return router
