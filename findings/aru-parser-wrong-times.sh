#!/usr/bin/env bash
# Expected: `parse_aru_file_start_time` of aru-metadata-parser, which is opensoundscape's and made for recorders' file names, gives the time
# in a name, and a ValueError where a name has none that it can read.
# Seen (aru-metadata-parser 1.0.0, python-dateutil 4.0.0, Python 3.11.7): names like AudioMoth's, Song Meter's and Swift's are
# read well; others are read wrongly without a word:
# - REC_2022-07-19_10-30-15 is 10:00:00-15:00: minutes and seconds are taken for offsets from UTC, the last of which counts;
# - site_20220719_1030 is 10:03:00 and A_220719_103000 the year 2207, as Python's strptime lets each number have fewer digits;
# - 20220719, eight signs, is a hexadecimal count of seconds: 1987-01-31;
# - site3_morning is the third of the month in which one runs it.
# A name without an underscore (20220719T103000Z, 5146.220719103000 of a SoundTrap) is an IndexError, which who catches the ValueError does not
# catch. `ARUFileTimestampParser`, advised for many files, tries first what read the file before: an AudioMoth's 5E886A48 is 2020-04-04, after
# a name like REC_2022-07-19_10-30-15 it is a day of May 2048, after a Song Meter's it is an IndexError; and a Swift's name loses its offset after
# a Song Meter's name that ends in a count. An AudioMoth's comment with an offset of half an hour, which its firmware writes as
# (UTC+5:30), is a ValueError. Besides, the package imports dateutil, which it does not ask pip for.
# Where from: `parse.py`: a list of tries, of which the late ones are dateutil's with `fuzzy=True` (dateutil's issue 294) and `strptime`.
# Way out: name the recorder (`recorder_type`), which leaves out dateutil's tries but not strptime's (10:03, 2207, 1987 stay); and refuse what
# lies outside the years one recorded in.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
pip() { "$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check "$@"; }
pip aru_metadata_parser==1.0.0 docopt==0.6.2 pytz==2026.6 soundfile==0.14.0 numpy==2.4.6
cd "$folder"
if "$folder/env/bin/python" -c "import aru_metadata_parser" 2> said; then
    echo "the package can be imported as pip installs it"
    exit 1
fi
tail -n 1 said
grep -q "No module named 'dateutil'" said
pip python-dateutil==4.0.0
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import platform
import sys
from datetime import date
from importlib.metadata import version

from aru_metadata_parser.parse import ARUFileTimestampParser, parse_aru_file_start_time, parse_audiomoth_metadata

COMMENT = "Recorded at 10:30:00 19/07/2022 ({}) by AudioMoth 24F3190361CBEC2F at medium gain while battery was 4.2V."


def attempt(function, *arguments):
    """Returns the time that a function gives, in ISO form, or the name of its error."""
    try:
        return function(*arguments).isoformat()
    except Exception as error:
        return type(error).__name__


def after(before, name):
    """Reads a name by a parser that has read another one before."""
    parser = ARUFileTimestampParser()
    parser.parse(f"{before}.wav")
    return parser.parse(f"{name}.wav")


def in_comment(zone):
    return parse_audiomoth_metadata({"comment": COMMENT.format(zone), "artist": "AudioMoth"})["recording_start_time"]


print(f"aru-metadata-parser {version('aru_metadata_parser')}, python-dateutil {version('python-dateutil')}, Python {platform.python_version()}")
as_described = True
for name, expected in {
    "20220719_103000": "2022-07-19T10:30:00",
    "SMM03873_20220719_103000": "2022-07-19T10:30:00",
    "SwiftOne_20220719_103000_-0400": "2022-07-19T10:30:00-04:00",
    "5E886A48": "2020-04-04T11:06:48+00:00",
    "REC_2022-07-19_10-30-15": "2022-07-19T10:00:00-15:00",
    "site_20220719_1030": "2022-07-19T10:03:00",
    "A_220719_103000": "2207-01-09T10:30:00",
    "20220719": "1987-01-31T14:15:53+00:00",
    "site3_morning": f"{date.today().replace(day=3)}T00:00:00",
    "20220719T103000Z": "IndexError",
    "5146.220719103000": "IndexError",
}.items():
    seen = attempt(parse_aru_file_start_time, f"{name}.wav")
    print(f"{name}: {seen}")
    as_described &= seen == expected
for before, name, expected in (
    ("REC_2022-07-19_10-30-15", "5E886A48", f"{date.today().replace(year=2048, month=5)}T00:00:00"),
    ("SMM03873_20220719_103000", "5E886A48", "IndexError"),
    ("SMM03873_20220719_103000_000", "SwiftOne_20220719_103000_-0400", "2022-07-19T10:30:00"),
):
    seen = attempt(after, before, name)
    print(f"{name} after {before}: {seen}")
    as_described &= seen == expected
for zone, expected in {"UTC+5": "2022-07-19T10:30:00+05:00", "UTC+5:30": "ValueError"}.items():
    seen = attempt(in_comment, zone)
    print(f"a comment with ({zone}): {seen}")
    as_described &= seen == expected
sys.exit(not as_described)
PYTHON
