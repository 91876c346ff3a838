"""Files that people name: a refusal says what to do and quotes nothing."""

from pathlib import Path

import pytest

from fedmed.errors import ConfigError
from fedmed_server.files import read_text


def test_a_text_is_read_and_what_is_none_is_refused_with_the_remedy(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    with pytest.raises(ConfigError, match=r"study\.toml: No such file or directory; name another file"):
        read_text(file)
    file.write_bytes("上海".encode("gb18030"))
    with pytest.raises(ConfigError, match=r"study\.toml is not UTF-8 text; save it as UTF-8"):
        read_text(file)
    file.write_text("上海", encoding="utf-8")
    assert read_text(file) == "上海"
