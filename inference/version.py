"""The software's version, as results and DICOM objects state it (equal to the package's)."""

SOFTWARE_VERSION = "0.1.0"
