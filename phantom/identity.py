"""Patients who do not exist: identities that nobody can take for real, in the world's character sets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np


@dataclass(frozen=True)
class PatientIdentity:
    """Who a patient is: `name` in DICOM's form, `character_set` the Specific Character Set that encodes it.

    `sex` is "F", "M" or "O"; `birth_date` is None where there is none, as for a phantom.
    """

    name: str
    patient_id: str
    sex: str
    birth_date: date | None
    character_set: tuple[str, ...] = ("ISO_IR 100",)


_DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")


def draw_identity(seed: int, *, female: bool) -> PatientIdentity:
    """An identity whose name spells the seed, aged 25 to 88 at the start of 2025."""
    rng = np.random.default_rng([seed, *b"identity"])
    born = date(2025, 1, 1) - timedelta(days=int(rng.integers(25 * 365, 88 * 365)))
    spelled = " ".join(_DIGITS[int(digit)] for digit in str(seed))
    return PatientIdentity(f"Phantom^{spelled}", f"SYN-{seed:07d}", "F" if female else "M", born)


def with_name(identity: PatientIdentity, name: str, *character_set: str) -> PatientIdentity:
    """The same patient under another name and character set."""
    return PatientIdentity(name, identity.patient_id, identity.sex, identity.birth_date, character_set)


# "Synthetic test body" in German, Russian, Japanese and Greek; each in the character set that a scanner of
# that country would use.
LATIN_1_NAME = ("Prüfkörper^Künstlich", "ISO_IR 100")
CYRILLIC_NAME = ("Фантомов^Образец", "ISO_IR 144")
JAPANESE_NAME = ("Mokei^Jintai=模型^人体=もけい^じんたい", "", "ISO 2022 IR 87")
UNICODE_NAME = ("Ομοίωμα^Συνθετικό", "ISO_IR 192")
