"""One typed tree of settings, from a TOML file and `DICOM_NODE_*` variables, read once and passed in.

Order, strongest first: keyword arguments, environment (`DICOM_NODE_HTTP__PORT=8080`), the TOML file named by
`DICOM_NODE_SETTINGS` or given on the command line, the defaults below. A secret may always come from a file
(`..._file`), so that neither environment nor command line needs to hold it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from dicom_node.destination_settings import Destination, DestinationSettings
from dicom_node.secret_file import read_secret
from dicom_node.settings_section import AETitle, ObjectKind, Port, Section
from inference.errors import RefusalCode

if TYPE_CHECKING:
    from models.precision import Precision

RefusalKind = Literal["sr", "sc"]
"""What tells of a refused study: a short structured report, a secondary capture."""


class HttpSettings(Section):
    """The node's own HTTP server."""

    host: str = "127.0.0.1"
    port: Port = 8000
    token: SecretStr | None = None
    token_file: Path | None = None
    max_upload_bytes: int = Field(default=4 << 30, gt=0)
    max_member_bytes: int = Field(default=1 << 30, gt=0)
    max_inflated_bytes: int = Field(default=16 << 30, gt=0)
    max_members: int = Field(default=20_000, gt=0)
    max_inflation_ratio: float = Field(default=200, gt=1)
    unpack_timeout_s: float = Field(default=300, gt=0)
    predict_timeout_s: float = Field(default=1800, gt=0)

    def bearer_token(self) -> str | None:
        """The token that callers must present, None where the node is open (loopback only)."""
        return read_secret(self.token, self.token_file)


class OrthancSettings(Section):
    """The Orthanc that receives studies and keeps results."""

    url: str = "http://127.0.0.1:8042"
    username: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = None
    aet: AETitle = "DICOM-NODE"
    dicom_host: str = "127.0.0.1"
    dicom_port: Port = 4242
    timeout_s: float = Field(default=30, gt=0)

    def credentials(self) -> tuple[str, str] | None:
        """User and password, None where Orthanc asks for none."""
        secret = read_secret(self.password, self.password_file)
        return (self.username, secret) if self.username is not None and secret is not None else None


class IntakeSettings(Section):
    """How the node learns of studies: hint from the plug-in, `/changes`, reconciliation with `/studies`."""

    poll_changes_s: float = Field(default=2, gt=0)
    reconcile_s: float = Field(default=300, gt=0)
    settle_s: float = Field(default=60, ge=0, description="age from which an unlisted study counts as stable")


class WorkerSettings(Section):
    """What computes."""

    bundle: str = "demo"
    bundles_folder: Path = Path(__file__).resolve().parent.parent / "best_models"
    device: str = "cpu"
    precision: Literal["auto", "float32", "bf16", "fp16"] = Field(
        default="auto", description="of the networks; auto is float32 on CPU and fp16 on a GPU"
    )
    cpu_fallback: bool = Field(
        default=True, description="a study for which a GPU has too little memory is read on the CPU"
    )
    threads: int | None = Field(default=None, ge=1)
    concurrency: int = Field(
        default=3, ge=1, description="studies in work at once; the networks read one at a time"
    )
    reading_timeout_s: float = Field(
        default=600, gt=0, description="for the headers of all files of a study, and again for their pixels"
    )
    executor_id: str = Field(default="node-1", pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    retry_first_s: float = Field(default=5, gt=0)
    retry_longest_s: float = Field(default=900, gt=0)

    @property
    def network_precision(self) -> Precision:
        """`precision`, with `auto` decided."""
        # Imported here, since it loads torch, and settings are read by commands that need no networks.
        from models.precision import default_precision  # noqa: PLC0415

        return default_precision(self.device) if self.precision == "auto" else self.precision


class ReportSettings(Section):
    """How results are written."""

    timezone: str = "UTC"
    objects: tuple[ObjectKind, ...] = Field(default=("sr", "sc"), description="those that the archive keeps")
    language: Literal["en", "ru"] = "en"
    series_number_base: int = Field(
        default=9000, ge=1, le=2**31 - 100, description="number of the first series; the others follow"
    )
    refusals: tuple[RefusalKind, ...] = Field(default=(), description="what is made of a refused study")
    refusals_except: tuple[RefusalCode, ...] = Field(
        default=(RefusalCode.NO_CT_SERIES, RefusalCode.NO_LUNGS),
        description="codes of refusals of which nothing is made",
    )

    def refusal_kinds(self, code: str) -> tuple[RefusalKind, ...]:
        """What is made of a study that is refused with this code."""
        # Rejected images may be of another patient: nothing of ours is to be filed under that name.
        silent = {*self.refusals_except, RefusalCode.IMAGES_REJECTED}
        told = code in set(RefusalCode) and RefusalCode(code) not in silent
        return self.refusals if told else ()

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        ZoneInfo(value)
        return value


class WebSettings(Section):
    """The pages for people."""

    language: Literal["en", "ru"] | None = Field(
        default=None, description="of the pages; without it that of the reports"
    )
    show_patient: bool = Field(
        default=False, description="name, identifier and accession number, read from the archive each time"
    )


class ViewerSettings(Section):
    """The viewer at `/viewer`, and the DICOMweb that it reads."""

    enabled: bool = True
    folder: Path = Field(
        default=Path(__file__).resolve().parent.parent / "var/viewer",
        description="where `dicom-node viewer install` puts its files",
    )


class Settings(BaseSettings):
    """Everything that a site decides.

    `data_folder` holds all that the node writes. `database_url` is empty for SQLite in that folder, or a
    PostgreSQL URL (`postgresql+psycopg://user@host/name`, password from `database_password_file` if given).
    """

    model_config = SettingsConfigDict(
        env_prefix="DICOM_NODE_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    data_folder: Path = Path("var/node")
    database_url: str = ""
    database_password_file: Path | None = None
    calling_aet: AETitle = "DICOM-NODE"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    http: HttpSettings = HttpSettings()
    orthanc: OrthancSettings = OrthancSettings()
    intake: IntakeSettings = IntakeSettings()
    worker: WorkerSettings = WorkerSettings()
    report: ReportSettings = ReportSettings()
    web: WebSettings = WebSettings()
    viewer: ViewerSettings = ViewerSettings()
    destinations: tuple[Destination, ...] = ()

    @field_validator("database_url")
    @classmethod
    def _database_url(cls, value: str) -> str:
        try:
            if value:
                make_url(value)
        except ArgumentError as error:
            # Not its text, which quotes the URL.
            raise ValueError("is not a database URL (postgresql+psycopg://user@host/name)") from error
        return value

    @model_validator(mode="after")
    def _unique_destinations(self) -> Settings:
        names = [destination.name for destination in self.destinations]
        if len(set(names)) != len(names):
            raise ValueError("two destinations have the same name")
        return self

    @model_validator(mode="after")
    def _loopback_without_token(self) -> Settings:
        loopback = self.http.host in {"127.0.0.1", "::1", "localhost"}
        if not loopback and self.http.bearer_token() is None:
            raise ValueError("http.host is not loopback: set http.token_file (or http.token) first")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Keyword arguments, then environment, then the TOML file."""
        named = settings_cls.model_config.get("toml_file") or os.environ.get("DICOM_NODE_SETTINGS") or None
        file = TomlConfigSettingsSource(settings_cls, named)
        return init_settings, env_settings, file

    @property
    def object_kinds(self) -> frozenset[ObjectKind]:
        """The objects that are made of every result: the report, and what anybody is to get."""
        archives = [item for item in self.destinations if isinstance(item, DestinationSettings)]
        return frozenset(("sr", *self.report.objects)).union(*(item.objects for item in archives))

    def database(self) -> str | None:
        """PostgreSQL's URL with its password in it, for a driver only; None for SQLite in the data folder."""
        if not self.database_url:
            return None
        url = make_url(self.database_url)
        if self.database_password_file is not None:
            url = url.set(password=read_secret(None, self.database_password_file))
        return url.render_as_string(hide_password=False)

    @property
    def bundle_folder(self) -> Path:
        """Folder of the bundle that answers until another one is activated."""
        return self.worker.bundles_folder / self.worker.bundle
