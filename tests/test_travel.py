"""The travelling files: the law they must obey to load from the Hub, and the journey of a checkpoint far from home."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mvh

ROOT = Path(mvh.__file__).parent
TRAVELLERS = sorted(ROOT.glob("*_mvh.py"))
ALLOWED = {"torch", "transformers", "numpy", "scipy"} | set(sys.stdlib_module_names)


@pytest.mark.parametrize("path", TRAVELLERS, ids=lambda path: path.name)
def test_law_of_the_travelling_files(path):
    """Only `from .sibling import name`, at the top or in a function, no package of ours by name, no undeclared third party."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    top = {*tree.body, *(inner for function in functions for inner in ast.walk(function))}
    siblings = {other.stem for other in TRAVELLERS}
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            assert node in top and node.level == 1, (
                f"line {node.lineno}: a relative import in a condition or of two dots"
            )
            assert node.module in siblings, f"line {node.lineno}: {node.module} does not travel"
            imported.add(node.module)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert {name.split(".")[0] for name in names} <= ALLOWED, f"line {node.lineno}: {names}"
    # transformers finds siblings by this expression over the text, docstrings included
    found = set(re.findall(r"^\s*from\s+\.(\S+)\s+import", source, flags=re.MULTILINE))
    assert found == imported, "a docstring or string holds a line that looks like a relative import"


def test_floors():
    """A file imports from its own floor and from floors below, never from above."""
    folders = [ROOT, *(path.parent for path in ROOT.glob("*/__init__.py") if path.parent.name != "tests")]
    files = [path for folder in folders for path in folder.glob("*.py")]
    floor = {path.stem if path.parent == ROOT else path.parent.name: 2 for path in files}  # learning and measuring
    floor |= {path.stem: 0 for path in TRAVELLERS}
    floor |= dict.fromkeys(
        ("attacks", "dataset_builder", "documents", "hub", "leaks", "metrics", "mvh_metrics", "placing", "usage"), 1
    )
    floor |= {"cli": 3, "scan": 3, "push": 3, "compare": 3, "space": 3, "benchmarks": 4, "experiments": 4}
    for path in files:
        room = path.stem if path.parent == ROOT else path.parent.name
        if room == "__init__":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module == "mvh":
                names = [f"mvh.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for other in {name.split(".")[1] for name in names if name.startswith("mvh.")} & floor.keys():
                assert floor[other] <= floor[room], f"{path.name} imports {other} from a floor above its own"


def run(code: str, cwd: Path, **environment: str) -> str:
    """Run Python in a fresh process in another folder, where no file and no installed package of ours can be found."""
    blocked = "import sys; sys.modules['mvh'] = None\n"
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH",)}
    done = subprocess.run(
        [sys.executable, "-I", "-c", blocked + code],
        cwd=cwd,
        env={**clean, "HF_HUB_OFFLINE": "1", "HF_HOME": str(cwd / "hf"), **environment},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_journey_of_a_checkpoint(detector, tmp_path):
    """A copied folder, an empty directory, nothing of the project importable: both tasks give the same answer."""

    shutil.copytree(detector, tmp_path / "downloaded")
    (tmp_path / "elsewhere").mkdir()
    text = "Rain on the street. " * 30 + "Furthermore delve holistic tapestry. " * 30
    code = f"""
from transformers import pipeline
import json
detect = pipeline("mvh-detect", model={str(tmp_path / "downloaded")!r}, trust_remote_code=True)
classify = pipeline("text-classification", model={str(tmp_path / "downloaded")!r}, trust_remote_code=True)
try:
    import mvh.pipeline_mvh
    raise SystemExit("the project can be imported: the journey proves nothing")
except ImportError:
    pass
text = {text!r}
assert classify(text) == [detect(text)]
detect.save_pretrained("saved")
again = pipeline("mvh-detect", model="saved", trust_remote_code=True)
assert again(text) == detect(text)
print(json.dumps(detect(text)))
"""
    there = json.loads(run(code, tmp_path / "elsewhere").splitlines()[-1])
    from transformers import pipeline

    here = pipeline("mvh-detect", model=str(detector), trust_remote_code=True)(text)
    assert there["segments"][-1]["end"] == len(text) and there["label"] == here["label"]
    assert [s["start"] for s in there["segments"]] == [s["start"] for s in here["segments"]]
    margins = [[s["margin"] for s in result["segments"]] for result in (there, here)]
    assert margins[0] == pytest.approx(margins[1], abs=1e-4)


def test_import_mvh_is_lazy_and_names_are_there():
    code = "import sys, mvh; assert not {'torch', 'transformers', 'numpy'} & set(sys.modules); print(mvh.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == mvh.__version__
    assert mvh.MvhConfig.model_type == "mvh"
    with pytest.raises(AttributeError, match="no attribute 'Mvh'"):
        _ = mvh.Mvh


def test_no_path_of_a_machine_in_the_repository():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    if not listed:
        pytest.skip("not a git checkout")
    for name in listed:
        if name.endswith((".py", ".md", ".toml", ".yaml", ".json", ".txt", "Makefile")):
            text = (ROOT / name).read_text(encoding="utf-8", errors="replace")
            assert not re.search(r"(?<![\w.])/(?:root|home|work|farm)/", text), f"{name} names a path of one machine"
