"""A reviewer signs bundles that hold settings only."""

import io
import zipfile

import pytest

from fedmed.errors import IntegrityError
from fedmed_nodes.bundle_review import look_into


def bundle(**files):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), text)
    return made.getvalue()


def test_settings_and_words_are_shown():
    content = look_into(bundle(pyproject_toml="[project]", README_md="words"))
    assert content.settings == "[project]"
    assert content.names == ("README.md", "pyproject.toml")


@pytest.mark.parametrize("name", ["app_py", "fedmed____init_py", "lib_so"])
def test_a_bundle_with_code_is_refused(name):
    with pytest.raises(IntegrityError, match="more than settings"):
        look_into(bundle(pyproject_toml="[project]", **{name: "x"}))


@pytest.mark.parametrize("data", [b"", b"PK", b"no archive"])
def test_what_is_no_bundle_is_refused(data):
    with pytest.raises(IntegrityError, match="no app bundle"):
        look_into(data)


def test_a_huge_bundle_is_refused_before_it_is_unpacked():
    with pytest.raises(IntegrityError, match="larger than 1 MiB"):
        look_into(bundle(pyproject_toml="x" * (1 << 21)))
