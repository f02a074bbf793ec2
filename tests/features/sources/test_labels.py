import itertools
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.sources.labels import alike_text, clean_label, look_alike, with_separators
from features.sources.remarks import remarks
from tests.features.examples import clip_rows

NFD = unicodedata.normalize("NFD", "Möwe")
ALIKE = [
    ["Owl", "owl"],
    ["Möwe", NFD],
    ["MÖWE", "möwe", NFD],
    ["barn owl", "barn  owl", "barn\u00a0owl", "Barn\u3000Owl", "barn\u2009owl"],
    ["owl", "o\u200bwl", "\ufeffowl", "ow\u00adl"],
    ["Straße", "STRASSE"],
    ["\uff21", "a"],
]


@pytest.mark.parametrize("labels", ALIKE)
def test_labels_that_look_alike_are_found_whatever_stands_between_them(labels):
    for order in itertools.islice(itertools.permutations([*labels, "zebra", "aardvark"]), 24):
        assert look_alike(order) == [sorted(labels)]


@pytest.mark.parametrize("labels", [["a", "b"], ["owl", "owls"], ["o", "ö"], ["1", "01"], ["a-b", "a b"], []])
def test_labels_that_differ(labels):
    assert look_alike(labels) == []


@given(st.text())
def test_a_clean_label_is_clean(text):
    label = clean_label(text)
    assert clean_label(label) == label
    assert label is None or (label in text and label == label.strip())


def test_what_differs_can_be_seen_in_the_message():
    assert alike_text(["Owl", "owl"]) == "'Owl' and 'owl'"
    assert alike_text([NFD, "Möwe"]) == rf"'{NFD}' (Mo\u0308we) and 'Möwe' (M\xf6we)"


def test_labels_that_look_alike_are_remarked_on():
    (remark,) = remarks(clip_rows(4, label=["Owl", "owl", NFD, "Möwe"], partition=["training"] * 4))
    assert "'Owl' and 'owl'; " in remark
    assert "give each class one name" in remark
    assert remarks(clip_rows(2, label=["Owl", "frog"], partition=["training"] * 2)) == []
    many = [f"{text}{number}" for number in range(7) for text in ("a", "A")]
    assert "'A4' and 'a4'; and 2 more" in remarks(clip_rows(14, label=many, partition=["training"] * 14))[0]


@pytest.mark.parametrize(
    ("labels", "several"),
    [
        (["a", "b", "a;b"], ["a;b"]),
        (["wren", "robin | tit", "x"], ["robin | tit"]),
        (["Bark,Dog", "Bark", "Dog,Animal", "Animal"], ["Bark,Dog", "Dog,Animal"]),
        (["Crow, carrion", "Crow, hooded", "Crow", "Man, old"], []),
        (["a;", ";", ";;a", "|", ",a", "a,", "plain", "a b", "a/b", "a+b", "a&b"], []),
        (["a,a"], []),
        ([], []),
    ],
)
def test_labels_that_may_be_several_in_one_field(labels, several):
    assert with_separators(labels) == several


def test_labels_that_may_be_several_are_remarked_on_once():
    labels = ["a", "a;b", *(f"a|{number}" for number in range(7))]
    clips = pa.table({"label": labels * 2, "partition": ["training"] * len(labels) * 2})
    assert remarks(clips) == [
        "8 labels hold a separator and are taken as one class each: a;b, a|0, a|1, a|2, a|3 and 3 more; where several "
        "labels are meant, give each clip one"
    ]
    (said,) = remarks(clips.slice(0, 2))
    assert said.startswith("1 label holds a separator and is taken as one class each: a;b; where")
