"""Pages as files: what is data is text, and a policy names what may run."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from features.errors import UsageError
from model.pages import document
from model.pages.document import check_page, render, write_page

HOSTILE = "</script><script>alert(1)</script><!-- & \u2028 'x' \"y\""


class Elements(HTMLParser):
    """The elements of a page, and the texts of its scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {"script": [], "style": [], "title": []}
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.attributes.append((tag, dict(attrs)))
        self._inside = tag
        if tag in self.texts:
            self.texts[tag].append("")

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside in self.texts:
            self.texts[self._inside][-1] += data


def page(data: dict) -> str:
    """A page of the skeleton alone."""
    return render("base.html.j2", data)


def test_names_stay_text_wherever_they_stand():
    data = {"title": HOSTILE, "names": [HOSTILE, "a\udc80b"]}
    text = page(data)
    found = Elements(text)
    data_text, *scripts = found.texts["script"]
    assert json.loads(data_text) == data
    assert found.texts["title"] == [HOSTILE]
    assert len(scripts) == 4
    assert text.encode("utf-8").decode("utf-8") == text


def test_bytes_that_are_no_text_stand_as_escapes():
    found = Elements(page({"title": "a\udc80b"}))
    assert found.texts["title"] == ["a\\udc80b"]
    assert json.loads(found.texts["script"][0]) == {"title": "a\udc80b"}


def test_the_policy_names_what_stands_in_the_page_and_nothing_else():
    found = Elements(page({"title": "A model"}))
    policy = next(given["content"] for tag, given in found.attributes if tag == "meta" and "http-equiv" in given)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))

    def hashes(texts):
        return [f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts]

    assert rules["default-src"] == "'none'"
    assert rules["script-src"].split() == hashes(found.texts["script"][1:])
    assert rules["style-src"].split() == hashes(found.texts["style"])
    for tag, given in found.attributes:
        assert not {name for name in given if name == "style" or name.startswith("on")}, tag
        assert not re.search("https?:", str(given.get("src", "")) + str(given.get("href", ""))), tag


def test_what_is_vendored_is_what_was_published():
    folder = Path(document.__file__).parent / "vendor"
    told = json.loads((folder / "vendor.json").read_text(encoding="utf-8"))
    assert set(told["sha256"]) == {path.name for path in folder.iterdir()} - {"vendor.json"}
    for name, digest in told["sha256"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert told["version"] in (folder / "uPlot.iife.min.js").read_text(encoding="utf-8")
    assert told["licence"] in (folder / "LICENSE").read_text(encoding="utf-8")


def test_a_page_is_written_whole_and_in_place_of_another(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("another", encoding="utf-8")
    text = page({"title": HOSTILE})
    check_page("--output", str(path))
    assert write_page(str(path), text) == len(text.encode("utf-8")) == path.stat().st_size
    assert path.read_bytes().decode("utf-8") == text
    assert [one.name for one in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("page.htm", "--output is a page whose name ends in .html, not"),
        ("folder.html", "--output is a file, but"),
        ("none/page.html", "no folder for --output"),
    ],
)
def test_where_no_page_can_be_is_refused(tmp_path, name, said):
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(UsageError, match=f"^{said}"):
        check_page("--output", str(tmp_path / name))


def test_a_store_of_an_unknown_kind_is_refused():
    with pytest.raises(UsageError, match="a place is a path"):
        check_page("--output", "ftp://host/page.html")
