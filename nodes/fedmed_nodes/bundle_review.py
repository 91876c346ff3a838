"""A province looks into an app bundle and signs it.

FedMed's bundles hold settings and no code: nodes run what they installed. So a reviewer needs no judgement of
code: a bundle that holds any is refused here.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass

from fedmed.errors import IntegrityError

SETTINGS_ONLY = frozenset({"pyproject.toml", "README.md"})
# Flower's own list of the files beside it, with their digests.
_BOOKKEEPING = frozenset({".info/CONTENT"})
_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleContent:
    """What a bundle holds.

    Attributes:
        names: All its files.
        settings: Text of its pyproject.toml.
    """

    names: tuple[str, ...]
    settings: str


def look_into(bundle: bytes) -> BundleContent:
    """Read a bundle's files.

    Raises:
        IntegrityError: it is no bundle, is larger than 1 MiB, or holds anything but settings and words.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
            names = tuple(sorted(archive.namelist()))
            sizes = sum(info.file_size for info in archive.infolist())
            if sizes > _MOST_BYTES:
                raise IntegrityError("the bundle is larger than 1 MiB: it is no bundle of FedMed's settings")
            settings = archive.read("pyproject.toml").decode()
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError, NotImplementedError, RuntimeError):
        raise IntegrityError("this file is no app bundle; ask the coordinator for it again") from None
    foreign = sorted(set(names) - SETTINGS_ONLY - _BOOKKEEPING)
    if foreign:
        raise IntegrityError(
            f"the bundle holds more than settings: {', '.join(foreign[:5])}. Do not sign it; ask why"
        )
    return BundleContent(names=names, settings=settings)
