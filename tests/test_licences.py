"""What `mvh` needs is free to use under Apache-2.0: no package that offers nothing but a licence of the GPL family."""

import re
from pathlib import Path

import pytest

import mvh
from mvh import licences

ROOT = Path(mvh.__file__).parent


def test_no_gpl_but_in_the_extra_that_says_so():
    found, _ = licences.packages()
    assert len(found) > 50 and {"torch", "transformers", "rich"} <= {package.name for package in found}
    assert {package.extra for package in found if licences.copyleft(package.licence)} <= {"word2vec"}
    assert not [package.name for package in found if "not named" in package.licence]


@pytest.mark.parametrize(
    ("said", "copyleft"),
    [
        ("LGPL-2.1-only", True),
        ("GNU General Public License v3 (GPLv3)", True),
        ("AGPL-3.0", True),
        ("MPL-1.1 OR GPL-2.0-only OR LGPL-2.1-or-later", False),
        ("Apache-2.0", False),
    ],
)
def test_a_choice_is_no_copyleft(said, copyleft):
    assert licences.copyleft(said) == copyleft


def test_the_page_lists_every_package():
    listed = set(
        re.findall(r"^\| ([\w-]+) \| [\d.]", (ROOT / "docs" / "licences.md").read_text(encoding="utf-8"), re.M)
    )
    direct = {package.name for package in licences.packages()[0] if package.extra in ("", "files")}
    pinned = {
        re.sub(r"[-_.]+", "-", line.split("==")[0]).lower()
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    }
    assert direct & pinned <= listed, sorted(direct & pinned - listed)
