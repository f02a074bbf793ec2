"""What stands at the head of a card is read back by a reader of YAML as it was meant."""

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from features.interchange.front_matter import front_matter

TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
KEYS = st.sampled_from(["name", "path", "config_name", "0", "17"])
INNER = st.lists(TEXTS, max_size=3) | st.dictionaries(KEYS, TEXTS | st.integers(), max_size=3)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(KEYS, TEXTS | INNER | st.lists(INNER, max_size=3) | st.dictionaries(KEYS, INNER, max_size=2)))
def test_a_reader_of_yaml_gives_what_was_written(content):
    text = front_matter({"first": 1, **content})
    assert text.startswith("---\n")
    assert text.endswith("\n---\n")
    assert yaml.safe_load(text[4:-4]) == {"first": 1, **content}
