"""The demo's recordings: words spoken by eSpeak NG, in a process of its own."""
