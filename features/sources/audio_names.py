"""Which names are those of audio files, and which are of what is never a clip."""

# What soundfile reads, and what an ffmpeg does: where there is none, that becomes a reject with a reason.
AUDIO_EXTENSIONS = frozenset(
    {".wav", ".wave", ".bwf", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"}
    | {".w64", ".rf64", ".sf", ".sph", ".voc"}
    | {".mp1", ".mp2", ".spx"}
    | {".m4a", ".m4b", ".mp4", ".mov", ".aac", ".adts", ".3gp", ".amr", ".awb", ".wma", ".asf", ".webm", ".weba"}
    | {".mka", ".mkv", ".wv", ".ape", ".tta", ".tak", ".mpc", ".dsf", ".dff", ".ac3", ".ec3"}
)
NOT_AUDIO = "not audio"
"""Why a file is passed over whose name says so."""
BACKGROUND_FOLDER = "_background_noise_"
