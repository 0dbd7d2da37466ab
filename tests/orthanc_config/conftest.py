from tests.dicom_node.conftest import free_port, make_orthanc, orthanc_program

__all__ = ["free_port", "make_orthanc", "orthanc_program"]
