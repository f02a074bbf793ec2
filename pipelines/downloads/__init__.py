"""Public data sets over HTTP: fetched with resume, checked, unpacked with care."""
