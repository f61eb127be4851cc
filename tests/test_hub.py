"""Uploads to a local Hub over HTTP: one commit, LFS, private repositories, broken connections; and what may not leave."""

import pytest
from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import RepositoryNotFoundError

from mvh.hub import check_name, logged_in, upload_folder
from mvh.leaks import refuse_leaks, refuse_unfilled
from mvh.tests.hub_server import LocalHub

HOME = "/" + "home/ann"  # in two parts: no file of the repository names a path of a machine
WEIGHTS = b"\0weights" * 1000


@pytest.fixture
def hub(monkeypatch):
    """A local Hub that this process talks to, as the user "me"."""
    with LocalHub() as server:
        server.connect(monkeypatch)
        yield server


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "folder"
    (folder / "tokenizers" / "1").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    (folder / "config.json").write_text("{}\n")
    (folder / "tokenizers" / "1" / "tokenizer.json").write_text("{}\n")
    return folder


def test_an_upload_is_one_commit_with_the_weights_in_lfs(hub, folder, tmp_path):
    done = upload_folder(folder, "me/toy", "first")
    repo = hub.repos["models", "me/toy"]
    assert [commit.message for commit in repo.commits] == ["initial commit", "first"]
    assert done.commit == repo.commits[-1].oid and not done.private
    paths = {"model.safetensors", "config.json", "tokenizers/1/tokenizer.json"}
    assert set(repo.commits[-1].files) == paths | {".gitattributes"}
    assert [path for method, path in hub.requests if method == "PUT"] == [
        f"/lfs/{repo.commits[-1].files['model.safetensors']}"
    ]
    there = snapshot_download("me/toy", cache_dir=tmp_path / "cache")
    assert (tmp_path / "cache").is_dir() and open(f"{there}/model.safetensors", "rb").read() == WEIGHTS


def test_a_second_upload_replaces_what_is_stale_and_keeps_what_others_wrote(hub, folder):
    upload_folder(folder, "me/toy", "first")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    hub.repos["models", "me/toy"].commits[-1].files["picture.png"] = hub.store(b"png")
    hub.requests.clear()
    upload_folder(folder, "me/toy", "second", stale=["*.safetensors"])
    files = hub.repos["models", "me/toy"].commits[-1].files
    assert "model.safetensors" not in files and {"model-00001-of-00002.safetensors", "picture.png"} <= set(files)
    assert not [path for method, path in hub.requests if method == "PUT"], "known content was sent again"


def test_an_older_revision_stays_what_it_was(hub, folder, tmp_path):
    first = upload_folder(folder, "me/toy", "first")
    (folder / "config.json").write_text('{"new": 1}\n')
    second = upload_folder(folder, "me/toy", "second")
    contents = [
        open(hf_hub_download("me/toy", "config.json", revision=done.commit, cache_dir=tmp_path / "cache")).read()
        for done in (first, second)
    ]
    assert contents == ["{}\n", '{"new": 1}\n']


@pytest.mark.parametrize("broken", ["/lfs/", "/commit/"])
def test_an_interrupted_upload_leaves_nothing_and_can_be_repeated(hub, folder, broken):
    hub.fails = lambda method, path: broken in path
    with pytest.raises(ConnectionError, match="run the same command again"):
        upload_folder(folder, "me/toy", "first")
    assert set(hub.repos["models", "me/toy"].commits[-1].files) == {".gitattributes"}
    hub.fails = lambda method, path: False
    hub.requests.clear()
    upload_folder(folder, "me/toy", "first")
    assert hub.content("models", "me/toy", "model.safetensors") == WEIGHTS
    sent = [path for method, path in hub.requests if method == "PUT"]
    assert len(sent) == (1 if broken == "/lfs/" else 0), "what had arrived was sent again"


def test_a_private_repository_opens_with_the_token_alone(hub, folder, tmp_path, monkeypatch):
    assert upload_folder(folder, "me/secret", "first", private=True).private
    assert hf_hub_download("me/secret", "config.json", cache_dir=tmp_path / "mine")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(RepositoryNotFoundError):
        HfApi(token=False).model_info("me/secret")


def test_a_public_repository_is_not_taken_for_a_private_one(hub, folder):
    upload_folder(folder, "me/toy", "first")
    with pytest.raises(ValueError, match="me/toy exists and is public"):
        upload_folder(folder, "me/toy", "second", private=True)
    assert len(hub.repos["models", "me/toy"].commits) == 2


@pytest.mark.parametrize(
    "name", ["toy", "me/toy/more", "me/", "/toy", "me/a b", "me/a..b", "me/x.git", "me/" + "x" * 120]
)
def test_a_malformed_name_is_a_sentence(name):
    with pytest.raises(ValueError, match="name"):
        check_name(name)


def test_without_login_or_right_or_connection_there_is_a_sentence(hub, folder, monkeypatch):
    with pytest.raises(ValueError, match="You may not write to others/toy"):
        upload_folder(folder, "others/toy", "first")
    monkeypatch.setenv("HF_TOKEN", "hf_of_nobody")
    with pytest.raises(ValueError, match="does not accept your token"):
        logged_in()
    with monkeypatch.context() as nobody, pytest.raises(ValueError, match="hf auth login"):
        nobody.setattr("mvh.hub.get_token", lambda: None)
        logged_in()
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ConnectionError, match=r"connection to http://127\.0\.0\.1:9 failed"):
        logged_in()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConnectionError, match="HF_HUB_OFFLINE is set"):
        logged_in()


# --- what must not leave ---

CARD = """---
library_name: transformers
license: apache-2.0
pipeline_tag: text-classification
tags: [mvh]
---
# toy

Words.

```python
# a comment
```
"""


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", f'{{\n "path": "{HOME}/model"}}', rf"a\.json, line 2: holds a local path \({HOME}\)"),
        ("sub/a.py", f"x = 1\nroot = '{HOME}'", r"sub/a\.py, line 2: holds a local path"),
        ("a.json", '{"command": "score ../data/x.jsonl"}', r"local path \(\.\./data\)"),
        ("a.json", r'{"path": "C:\\Users\\Ann"}', "local path"),
        ("a.txt", "see file:///etc/passwd", "local path"),
        ("a.md", "token hf_" + "abcDEF" * 6, r"a\.md, line 1: holds an access token \(hf_a…\)"),
        ("tokenizer.json", '"ghp_' + "A1b2" * 9 + '"', "an access token"),
        ("w.safetensors", "\0\0hf_" + "x" * 34 + "\0", r"w\.safetensors, byte 2: holds an access token"),
    ],
)
def test_what_must_not_leave_is_named_with_its_place(tmp_path, name, content, said):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=said) as raised:
        refuse_leaks(tmp_path)
    assert "abcDEFabc" not in str(raised.value), "the sentence shows the token"


def test_the_own_token_is_found_whatever_its_look(tmp_path, monkeypatch):
    monkeypatch.setattr("mvh.leaks.get_token", lambda: "opaque-words")
    (tmp_path / "weights.npz").write_bytes(b"\1\2opaque-words\3")
    with pytest.raises(ValueError, match="your access token"):
        refuse_leaks(tmp_path)


def test_ordinary_contents_pass(tmp_path):
    (tmp_path / "config.json").write_text('{"a": "https://huggingface.co/home/x", "b": "and/or", "c": "p:\\nq"}')
    (tmp_path / "vocab.txt").write_text(f"{HOME}\n/var/lib\n")
    (tmp_path / "README.md").write_text(CARD)
    (tmp_path / "empty.txt").touch()
    refuse_leaks(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("Words.", "[More Information Needed]", r"README\.md, line 9: holds the half-filled field"),
        ("Words.", "TODO: say it", "line 9"),
        ("Words.", "Backbone: {{ figures.base_model }}", "line 9"),
        ("Words.", "| alpha | None |", "line 9"),
        ("Words.", "model=\"USER/NAME\"", "USER/NAME"),
        ("tags: [mvh]", "tags: []", "metadata field 'tags' is empty"),
        ("license: apache-2.0", "", "metadata field 'license' is empty"),
        ("tags: [mvh]", "tags: [mvh]\nlanguage:", "metadata field 'language' is empty"),
        ("Words.", "## Training\n\n## Limits\n\nSome.", "nothing stands under '## Training'"),
        ("Words.\n", "Words.\n\n## Limits\n", "nothing stands under"),
        ("---\nlibrary", "library", "begins with no YAML"),
    ],
)  # fmt: skip
def test_a_half_filled_card_is_refused(tmp_path, old, new, said):
    text = CARD.replace(old, new, 1)
    if "## Limits\n\nSome" not in new and "## Limits" in new:
        text = text[: text.index("```")]
    (tmp_path / "README.md").write_text(text)
    with pytest.raises(ValueError, match=said):
        refuse_unfilled(tmp_path / "README.md")


def test_a_filled_card_passes(tmp_path):
    (tmp_path / "README.md").write_text(CARD)
    refuse_unfilled(tmp_path / "README.md")
