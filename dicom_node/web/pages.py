"""How a page comes about: templates with every value escaped, words of a language, the frame of the site."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from dicom_node.node import Node
from dicom_node.settings import Settings
from dicom_node.web import figures
from dicom_node.web.assets import assets
from dicom_node.web.words import Words, page_words

PERCENT = 100.0


@dataclass(frozen=True)
class Pages:
    """The pages of one node, in one language and time zone."""

    node: Node
    words: Words
    zone: ZoneInfo
    environment: Environment

    @property
    def settings(self) -> Settings:
        """The node's settings."""
        return self.node.settings

    def render(self, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        """A template as a response."""
        return HTMLResponse(self.environment.get_template(template).render(values), status)

    def page(self, request: Request, template: str, **values: Any) -> HTMLResponse:
        """A whole page, with what its frame says of the node."""
        return self.render(template, frame=self._frame(request), **values)

    def _frame(self, request: Request) -> Mapping[str, object]:
        health = self.node.health()
        return {
            "place": request.url.path,
            "ready": health.ready,
            "archive_problem": health.archive_problem,
            "database_problem": health.database_problem,
            "demonstration": self.node.ready and self.node.bundle.demonstration,
            "signed_in": self.settings.http.bearer_token() is not None,
        }

    def now(self) -> datetime:
        """This moment (UTC)."""
        return datetime.now(UTC)

    def moment(self, when: datetime) -> str:
        """As `figures.moment`, now."""
        return figures.moment(when, self.zone, self.words, now=self.now())

    def full_moment(self, when: datetime) -> str:
        """As `figures.full_moment`."""
        return figures.full_moment(when, self.zone, self.words)


def create_pages(node: Node) -> Pages:
    """The pages of a node as its settings want them."""
    settings = node.settings
    words = page_words(settings)
    environment = Environment(
        loader=PackageLoader("dicom_node.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages = Pages(node, words, ZoneInfo(settings.report.timezone), environment)
    environment.globals.update(
        t=words,
        asset={name: item.address for name, item in assets().items()},
        moment=pages.moment,
        full_moment=pages.full_moment,
        short_uid=figures.short_uid,
        minus=figures.minus,
        grouped=figures.grouped,
    )
    return pages
