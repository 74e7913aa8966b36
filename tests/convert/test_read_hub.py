"""Names of the Hugging Face hub, against a hub of our own."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file

from jaxseg.convert import read
from jaxseg.errors import UserError


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Files of the hub's one repository, all the same array, and what was asked for."""
    files, asked = [], []

    def list_repo_files(repository, revision=None):
        if repository != "owner/name":
            raise OSError("404 Client Error.\nRepository Not Found")
        return files

    def hf_hub_download(repository, file, revision=None):
        asked.append((repository, file, revision))
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        save_file({"a": np.ones(2, np.float32)}, path)
        return str(path)

    fake = SimpleNamespace(list_repo_files=list_repo_files, hf_hub_download=hf_hub_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    return files, asked


def test_a_name_says_repository_revision_and_file(hub):
    files, asked = hub
    files += ["README.md", "pytorch_model.bin", "model.safetensors"]
    assert read("hf://owner/name@v1/sub/x.safetensors")["a"].tolist() == [1, 1]
    read("hf://owner/name")
    assert asked == [
        ("owner/name", "sub/x.safetensors", "v1"),
        ("owner/name", "model.safetensors", None),
    ]


def test_several_files_none_and_unknown_names_are_one_line(hub, monkeypatch):
    files, _ = hub
    files += ["a.safetensors", "b.safetensors"]
    with pytest.raises(UserError, match="has a.safetensors, b.safetensors; name one: hf://owner"):
        read("hf://owner/name")
    files[:] = ["README.md"]
    with pytest.raises(UserError, match="has no file of weights among README.md"):
        read("hf://owner/name")
    with pytest.raises(UserError, match="hf://owner/nmae: 404 Client Error") as said:
        read("hf://owner/nmae")
    assert "\n" not in str(said.value)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match="needs huggingface_hub: pip install"):
        read("hf://owner/name")
