"""Names stay text in cards: an independent reader of YAML and one of Markdown give back what was written."""

import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from features.runtime.markdown import front_matter, markdown_table, markdown_text
from features.runtime.visible import visible

HOSTILE = ("a|b", "# x", "1. x", "- x", "<script>alert(1)</script>", "&amp;", "<!--", "`x`", "    x", "x  ", "[a](b)",
           "*a* _b_ ~~c~~", "\\", "a\nb", "\r\n---\n", "www.a.b", "Http://a.b", "a@b.c", ": x", "'", '"',
           "\x00\x85\u2028", "\u202e", "\ufeff", "no", "1e3", "null",
           "2026-11-30", "", " ", "日本 \U0001f600", "=", "$x$")  # fmt: skip
PARSER = MarkdownIt("gfm-like", {"linkify": False}).enable("table")
NAMES = st.one_of(st.text(), st.lists(st.sampled_from(HOSTILE), max_size=4).map("".join))


def texts(markdown: str) -> list[str]:
    """The text of each part of a document that a reader finds nothing but text in."""
    inline = [token for token in PARSER.parse(markdown) if token.type == "inline"]
    assert {child.type for token in inline for child in token.children} <= {"text", "text_special"}
    return ["".join(child.content for child in token.children) for token in inline]


@given(NAMES)
@example("")
def test_names_are_text_in_a_cell_a_heading_and_a_line(name):
    written, shown = markdown_text(name), visible(name)
    assert texts(markdown_table(["class", "n"], [[written, "1"], ["next", written]])) == [
        "class", "n", shown, "1", "next", shown,
    ]  # fmt: skip
    assert texts(f"# {written}\n") == [shown]
    assert texts(f"Of {written} here.\n") == [f"Of {shown} here."]


NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
KEYS = st.sampled_from(["name", "model-index", "type_", "array2_d"])


@given(
    st.recursive(
        NAMES | st.none() | st.booleans() | NUMBERS,
        lambda inner: st.lists(inner, min_size=1) | st.dictionaries(KEYS, inner, min_size=1),
    )
)
@example([1e-7, -1e16, 5e-324, 1.5, 2.0])
def test_a_head_is_the_mapping_that_was_written(value):
    head = front_matter({"value": value, "left_out": [], "also": {}})
    begin, content, end = head.split("\n---\n")[0][:4], head[4:].rsplit("\n---\n", 1)[0], head[-5:]
    assert (begin, end) == ("---\n", "\n---\n") and "\n---" not in content
    assert yaml.safe_load(content) == {"value": value}
