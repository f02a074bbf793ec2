"""What a spec says of a network that is its front end, and the windows that the network takes of a clip."""

import re
from collections.abc import Mapping
from typing import Any

from features.frontend.field_rules import require, require_presence

EMBEDDING = "embedding"
NETWORK_FIELDS = ("network_sha256", "network_format", "network_output", "embedding_size", "input_scale")
"""Fields of a spec that no other front end has."""

_NEEDED = ("network_sha256", "network_format", "embedding_size")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def check_network_fields(fields: Mapping[str, Any]) -> None:
    """Raises `UsageError` where the fields of a spec contradict what its front end does with a network.

    Args:
        fields: all of a spec, by their names.
    """
    front_end = fields["front_end"]
    for name in NETWORK_FIELDS:
        if front_end != EMBEDDING or name in _NEEDED:
            require_presence(front_end == EMBEDDING, front_end, name, fields[name])
    if front_end != EMBEDDING:
        return
    sha256, output = fields["network_sha256"], fields["network_output"]
    require(_SHA256.fullmatch(sha256) is not None, "network_sha256 is 64 hexadecimal digits in lower case",
            "network_sha256", sha256)  # fmt: skip
    require(output != "", "network_output is the name of a tensor", "network_output", repr(output))
    for name in ("embedding_size", "input_scale"):
        require(fields[name] is None or fields[name] > 0, f"{name} is above 0", name, fields[name])
    require(not fields["centred"], "the first window of a network begins with the clip", "centred", fields["centred"])
    power = fields["spectrum_power"]
    require(power == 1, "a network takes samples, of which there is no power", "spectrum_power", power)


def count_windows(samples: int, window_samples: int, hop_samples: int) -> int:
    """Returns how many windows a network takes of a clip, the first at its start and each with a sample of it at least.

    They reach to the clip's last sample; where the hop is longer than the window, what lies between them is left out.

    Args:
        samples: of the clip.
        window_samples: of a window; the last one gets zeros at the end.
        hop_samples: from the start of a window to that of the next.
    """
    behind_first = max(0, samples - max(window_samples, hop_samples))
    return 1 - (-behind_first // hop_samples)
