"""A ZIP from a stranger, from its directory to the files that come out of it."""

from __future__ import annotations

from dicom_node.settings import HttpSettings
from dicom_node.uploads import receive_zip
from fuzz.archive_mutation import mutate_archive
from fuzz.scratch import scratch_folder
from fuzz.seeds import archives
from fuzz.target import Target
from inference.errors import UploadRefusal

LIMITS = HttpSettings(
    max_members=200, max_member_bytes=8 << 20, max_inflated_bytes=32 << 20, unpack_timeout_s=5
)


def unpack(content: bytes) -> str:
    """Unpack as an upload is: nothing but numbered files in the folder for them, within the limits."""
    with scratch_folder() as scratch:
        archive, folder = scratch / "received", scratch / "files"
        archive.write_bytes(content)
        try:
            upload = receive_zip(archive, LIMITS, folder)
        except UploadRefusal as refusal:
            outcome = str(refusal.code)
        else:
            outcome = "unpacked"
            if sorted(upload.files) != sorted(folder.iterdir()):
                raise AssertionError("other files are there than those that are named")
        if set(scratch.iterdir()) - {archive, folder}:
            raise AssertionError("a file outside of its folder")
        unpacked = list(folder.iterdir()) if folder.exists() else []
        for path in unpacked:
            if path.is_symlink() or not path.is_file() or not path.name.isdecimal():
                raise AssertionError("something that is no numbered file")
        if len(unpacked) > 2 * LIMITS.max_members:
            raise AssertionError("more files than the limits allow")
        return outcome


TARGET = Target(
    name="archive",
    run=unpack,
    whole=unpack,
    seeds=archives,
    mutate=mutate_archive,
    allowance_bytes=96 << 20,
)
