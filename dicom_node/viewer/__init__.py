"""The viewer: OHIF's built files, their installation and configuration, what it may ask of the archive."""
