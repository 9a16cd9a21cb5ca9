"""Packages: what is refused, and with which words. No network."""

import base64
import hashlib
import io
import json
import os
import tarfile

import pytest

from studies.toydata.iconcoco.fetch import (
    PACKAGES,
    Package,
    fetch_icon_sets,
    fetch_package,
    read_icon_set,
)

ICONS = {'width': 20, 'height': 20, 'icons': {'cat': {'body': '<g/>'}}}


def write_tarball(path, members):
    with tarfile.open(path, 'w:gz') as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def package_of(tarball):
    digest = hashlib.sha512(tarball.read_bytes()).digest()
    return Package(
        '1.0.0', f'sha512-{base64.b64encode(digest).decode()}', 'a', 'MIT', ''
    )


@pytest.fixture
def tarball(tmp_path):
    return write_tarball(
        tmp_path / 'made.tgz',
        {'package/icons.json': json.dumps(ICONS).encode()},
    )


@pytest.fixture
def fake_npm(tmp_path, monkeypatch):
    """Replace npm by a shell script."""

    def install(script):
        folder = tmp_path / 'bin'
        folder.mkdir()
        npm = folder / 'npm'
        npm.write_text(f'#!/bin/sh\n{script}\n')
        npm.chmod(0o755)
        monkeypatch.setenv('PATH', f'{folder}{os.pathsep}{os.environ["PATH"]}')

    return install


def test_package_is_fetched_once(tmp_path, tarball, fake_npm):
    calls = tmp_path / 'calls'
    fake_npm(f'echo "$@" >> {calls}; cp {tarball} some-name.tgz')
    packages = {'noto': package_of(tarball)}

    for _ in range(2):
        sets = fetch_icon_sets(tmp_path / 'cache', packages)

    assert sets['noto']['cat'].width == 20
    assert calls.read_text() == (
        'pack --ignore-scripts --silent @iconify-json/noto@1.0.0\n'
    )
    assert [p.name for p in (tmp_path / 'cache').iterdir()] == [
        'noto-1.0.0.tgz'
    ]


def test_wrong_package_from_npm_is_refused(tmp_path, tarball, fake_npm):
    fake_npm(f'cp {tarball} some-name.tgz')
    cache = tmp_path / 'cache'

    with pytest.raises(ValueError, match='is not the recorded package'):
        fetch_package('noto', PACKAGES['noto'], cache)
    assert not list(cache.iterdir())


def test_wrong_package_in_the_cache_is_refused(tmp_path, tarball):
    cached = tmp_path / 'noto-1.0.0.tgz'
    cached.write_bytes(tarball.read_bytes() + b'\0')

    with pytest.raises(ValueError, match='delete it and run again'):
        fetch_package('noto', package_of(tarball), tmp_path)


def test_missing_npm_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', str(tmp_path))

    with pytest.raises(RuntimeError, match='npm was not found.*Node.js'):
        fetch_package('noto', PACKAGES['noto'], tmp_path / 'cache')


def test_failing_npm_is_said(tmp_path, fake_npm):
    fake_npm('exit 7')

    with pytest.raises(
        RuntimeError,
        match=r'could not fetch @iconify-json/noto@1\.2\.9 \(exit status 7\)',
    ):
        fetch_package('noto', PACKAGES['noto'], tmp_path / 'cache')


def test_nothing_is_unpacked(tmp_path):
    content = json.dumps(ICONS).encode()
    tarball = write_tarball(
        tmp_path / 'made.tgz',
        {
            '../evil': b'x',
            str(tmp_path / 'evil'): b'x',
            'package/icons.json': content,
        },
    )

    assert read_icon_set(tarball, 'noto')['cat'].body == '<g/>'
    assert list(tmp_path.iterdir()) == [tarball]
    assert not (tmp_path.parent / 'evil').exists()


def test_link_in_place_of_the_drawings_is_refused(tmp_path):
    secret = tmp_path / 'secret.json'
    secret.write_text(json.dumps(ICONS))
    tarball = tmp_path / 'made.tgz'
    with tarfile.open(tarball, 'w:gz') as archive:
        info = tarfile.TarInfo('package/icons.json')
        info.type = tarfile.SYMTYPE
        info.linkname = str(secret)
        archive.addfile(info)

    with pytest.raises(ValueError, match='has no file package/icons.json'):
        read_icon_set(tarball, 'noto')


def test_unknown_drawing_is_named(tarball):
    with pytest.raises(ValueError, match="noto has no drawing named 'dog'"):
        read_icon_set(tarball, 'noto')['dog']


def test_integrities_are_sha512():
    for vendor, package in PACKAGES.items():
        kind, _, digest = package.integrity.partition('-')
        assert kind == 'sha512', vendor
        assert len(base64.b64decode(digest, validate=True)) == 64, vendor
