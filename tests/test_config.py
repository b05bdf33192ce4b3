"""A mistake in config/: the error names the key and what is wrong with it, in words."""

import pytest

from sitecnn.boards.config import load_board_config
from sitecnn.config import load_config
from sitecnn.errors import ConfigError

BOARDS = {
    "name: b\nprocesors: {cpu: {}}\n": "procesors: unknown key, did you mean 'processors'?",
    "name: b\n": "processors: this key is required",
    "name: b\ntransport: ssh\nprocessors: {cpu: {}}\n": "b.yaml: transport needs the section `ssh:`",
    "": "expected `key: value` lines, found nothing",
    "- b\n": "expected `key: value` lines, found a list",
}
CONFIGS = {
    "networks: [net]\nboards: [b, b]\n": "boards: 'b' is there more than once",
    "networks: [net, net]\nboards: [b]\n": "networks: 'net' is there more than once",
    "networks: [net]\nboards: [b]\n": "no file config/boards/b.yaml; there are: none",
}


@pytest.mark.parametrize("text", BOARDS)
def test_a_mistake_in_a_boards_file(text, tmp_path):
    (tmp_path / "config/boards").mkdir(parents=True)
    (tmp_path / "config/boards/b.yaml").write_text(text)
    with pytest.raises(ConfigError) as error:
        load_board_config(tmp_path, "b")
    assert str(error.value).endswith(BOARDS[text])


@pytest.mark.parametrize("text", CONFIGS)
def test_a_mistake_in_the_configuration(text, tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.yaml").write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(tmp_path)
    assert str(error.value).endswith(CONFIGS[text])
