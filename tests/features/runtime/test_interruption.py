"""What a command does about garbage while it is loaded; `tests/pipelines/test_startup.py` interrupts real ones."""

import gc

from features.runtime import interruption


def test_a_program_that_calls_commands_keeps_what_it_collects_of_garbage():
    frozen = gc.get_freeze_count()
    interruption.end_loading()
    assert gc.isenabled()
    assert gc.get_freeze_count() == frozen
