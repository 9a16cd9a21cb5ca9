"""Get the vendors' drawings from npm: pinned, verified, never unpacked.

Each package is one tarball in a cache folder. Its SHA-512 must be the one
recorded here, the same that npm calls ``integrity``; one member is read from
it in memory, so that no path in the archive ever reaches the disk.
"""

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from studies.toydata.iconcoco.icons import IconSet

_MEMBER = 'package/icons.json'


class Package(NamedTuple):
    """A vendor's drawings as an npm package in the scope @iconify-json."""

    version: str
    integrity: str  # sha512, as npm writes it
    author: str
    licence: str  # SPDX
    source: str


PACKAGES = {
    'noto': Package(
        '1.2.9',
        'sha512-DQiuXENbun41ch+XPSV55H9FaWKpHTyz46YIKtSaKYD4fIDDzL1tR6H4np/'
        'T38jfrTAeI3rcKF0mqHYeZVAuaw==',
        'Google',
        'Apache-2.0',
        'https://github.com/googlefonts/noto-emoji',
    ),
    'noto-v1': Package(
        '1.2.5',
        'sha512-/DsVMius69Q0fRS53z7QK1TROSuar606jiIx+laXtdsYGMXpf6LtHBx6CGfoo'
        '3UHHb/XpBsw+1L1x3eyPqMuVA==',
        'Google',
        'Apache-2.0',
        'https://github.com/googlefonts/noto-emoji',
    ),
    'fluent-emoji-flat': Package(
        '1.2.6',
        'sha512-RY47RgPb47fYUiyrA64sIOL0+UU02s29sXpNBbIQRBUlPlfNFTKUmZDERGuxDs'
        '/7yNGWqQYvuaSYM1M4fRXlUw==',
        'Microsoft',
        'MIT',
        'https://github.com/microsoft/fluentui-emoji',
    ),
    'emojione': Package(
        '1.2.3',
        'sha512-T9+T3HIbJNLKKsmxYKlaYhvnHYkz/HNYTV7SHCXVZPfeUi4FqskY70YeN8yYAZ'
        'T8cCv7w5vJxS4Q1m8zb9CMMg==',
        'Emoji One',
        'CC-BY-4.0',
        'https://github.com/EmojiTwo/emojitwo',
    ),
    'twemoji': Package(
        '1.2.5',
        'sha512-uKpuIEV0v6K5BW3Mjdyl+XKFVAbbcPxAgifKvEMtZoUZB5+YiY5zaMm2uNNCxy'
        'XzAWU9yNLlj41WU6/mvgALsw==',
        'Twitter',
        'CC-BY-4.0',
        'https://github.com/jdecked/twemoji',
    ),
    'fxemoji': Package(
        '1.2.2',
        'sha512-UAasRaxzFUKfIGSmLwnoarsssA4LX0VLLuEmplIqM6ZNQqIQRtav8tZ4H1neTl'
        'BreXuMQyAifr5jP4kn78DpiQ==',
        'Mozilla',
        'Apache-2.0',
        'https://github.com/mozilla/fxemoji',
    ),
    'streamline-emojis': Package(
        '1.2.4',
        'sha512-iNr9T9XuZVTyQPJO8ZlLxBzPkpi7qMl+z1l0C31vpEMqhPMelth3n7CeWQYtix'
        'detDPdI81yeG4ROqjWpYJE6A==',
        'Streamline',
        'CC-BY-4.0',
        'https://github.com/webalys-hq/streamline-vectors',
    ),
}


def fetch_icon_sets(
    cache: str | Path, packages: Mapping[str, Package] = PACKAGES
) -> dict[str, IconSet]:
    """Read the drawings of every package, fetching what the cache lacks.

    Args:
        cache: Folder of the tarballs; made where missing.
        packages: Vendor -> what to fetch.

    Raises:
        RuntimeError: npm is missing or could not fetch a package.
        ValueError: A tarball is not the recorded one.
    """
    return {
        vendor: read_icon_set(
            fetch_package(vendor, package, Path(cache)), vendor
        )
        for vendor, package in packages.items()
    }


def fetch_package(vendor: str, package: Package, cache: Path) -> Path:
    """The verified tarball of a package, from the cache or else from npm."""
    tarball = cache / f'{vendor}-{package.version}.tgz'
    if not tarball.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            fetched = _npm_pack(
                f'@iconify-json/{vendor}@{package.version}', Path(folder)
            )
            _verify(fetched, package.integrity)
            fetched.replace(tarball)
    _verify(tarball, package.integrity)
    return tarball


def read_icon_set(tarball: Path, vendor: str) -> IconSet:
    """The drawings in a package's tarball."""
    with tarfile.open(tarball) as archive:
        # Two members may share a name: the first one that is a plain file.
        files = (m for m in archive if m.isfile() and m.name == _MEMBER)
        member = next(files, None)
        content = archive.extractfile(member) if member else None
        if content is None:
            raise ValueError(f'{tarball} has no file {_MEMBER}')
        return IconSet(vendor, json.load(content))


def _npm_pack(spec: str, folder: Path) -> Path:
    npm = shutil.which('npm')
    if npm is None:
        raise RuntimeError(
            f'npm was not found, and it is what fetches {spec}: install '
            f'Node.js, or give a --cache that holds the packages'
        )
    packed = subprocess.run(
        [npm, 'pack', '--ignore-scripts', '--silent', spec],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    tarballs = list(folder.glob('*.tgz'))
    if packed.returncode or len(tarballs) != 1:
        raise RuntimeError(
            f'npm could not fetch {spec} (exit status {packed.returncode}): '
            f'check the network with `npm view {spec}`'
        )
    return tarballs[0]


def _verify(tarball: Path, integrity: str) -> None:
    digest = hashlib.sha512(tarball.read_bytes()).digest()
    found = f'sha512-{base64.b64encode(digest).decode()}'
    if found != integrity:
        raise ValueError(
            f'{tarball} is not the recorded package: its integrity is '
            f'{found}, expected {integrity}; delete it and run again'
        )
