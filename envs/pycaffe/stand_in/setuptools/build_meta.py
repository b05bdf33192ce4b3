"""As much of a build backend (PEP 517) as `pip download` calls."""

import email
from pathlib import Path


class Backend:
    """Knows an archive's name and version, and cannot build it."""

    def get_requires_for_build_wheel(self, config_settings: object = None) -> list[str]:
        """Nothing is built, so nothing is required."""
        return []

    def prepare_metadata_for_build_wheel(self, metadata_directory: str, config_settings: object = None) -> str:
        """The name of the `.dist-info` folder written to `metadata_directory`."""
        text = Path("PKG-INFO").read_text()
        fields = email.message_from_string(text)
        folder = Path(metadata_directory, f"{fields['Name'].replace('-', '_')}-{fields['Version']}.dist-info")
        folder.mkdir()
        (folder / "METADATA").write_text(text)
        return folder.name


__legacy__ = Backend()
