import os
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.sources.folder_walk import is_hidden, is_litter
from features.sources.safe_names import MOST_BYTES, safe_names, text_of

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
ODD = st.sampled_from(
    ["", ".", "..", "a/b", "CON", "con.txt", "nul ", "-x", "~", "a.", " a", "%2F", "_background_noise_"]
)
FORBIDDEN = set('<>:"/\\|?*') | {chr(code) for code in range(32)}


def safe_name(text: str, keep_end: bool = False) -> str:
    return safe_names([text], keep_end)[text]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Turdus merula", "Turdus merula"),
        ("_silence_", "_silence_"),
        ("鳥", "鳥"),
        ("a/b", "a%2Fb"),
        ("..", "%2E%2E"),
        (".", "%2E"),
        (".hidden", "%2Ehidden"),
        ("-rf", "%2Drf"),
        ("", "%"),
        ("100%", "100%25"),
        ("CON", "%43ON"),
        ("com¹.wav", "%63om¹.wav"),
        ("console", "console"),
        ("a. ", "a.%20"),
        ("a.", "a%2E"),
        ("a\u2028b", "a%E2%80%A8b"),
        ("_background_noise_", "%5Fbackground_noise_"),
        ("Lost+Found", "%4Cost+Found"),
    ],
)
def test_a_name_is_the_text_but_for_what_it_may_not_hold(text, name):
    assert safe_name(text) == name
    assert text_of(name) == text


@settings(max_examples=30)
@given(st.lists(TEXT | ODD, max_size=6))
def test_names_are_safe_and_none_is_anothers_on_any_system(texts):
    names = safe_names(texts)
    folded = {unicodedata.normalize("NFKC", name).casefold() for name in names.values()}
    assert len(folded) == len(set(texts))
    for text, name in names.items():
        assert not FORBIDDEN & set(name)
        assert not name.endswith((".", " "))
        assert not name.startswith((" ", "-", "~"))
        assert not is_hidden(os.fsencode(name)) and not is_litter(os.fsencode(name))
        assert 0 < len(name.encode()) <= MOST_BYTES
        assert "%~" in name or text_of(name) == text


def test_labels_that_differ_in_case_alone_have_names_of_their_own():
    assert safe_names(["robin", "Robin", "wren"]) == {"robin": "robin", "Robin": "%52obin", "wren": "wren"}


@pytest.mark.parametrize("keep_end", [False, True])
def test_a_long_text_keeps_a_part_and_is_still_distinguished(keep_end):
    # Of each length, so that the cut falls within a character and within an escape too.
    for length in range(MOST_BYTES - 3, MOST_BYTES + 40):
        for unit in ("a", "é", "鳥", "/"):
            text = "".join([unit] * length)
            name = safe_name(text, keep_end)
            assert len(name.encode()) <= MOST_BYTES
            assert name != safe_name(text + unit, keep_end)
    end = safe_name("x" * 300 + "/20260612_040000.wav", keep_end=True)
    assert end.endswith("20260612_040000.wav")
    with pytest.raises(ValueError, match="longer text"):
        text_of(end)
