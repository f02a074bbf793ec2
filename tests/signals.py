"""Signals made in code, and WAV files written by the standard library, which shares nothing with the decoder."""

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def sine(hz: float, samples: int, rate_hz: int = 16_000, amplitude: float = 0.5) -> NDArray[np.float32]:
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(samples) / rate_hz)).astype(np.float32)


def chirp(samples: int, rate_hz: int = 16_000) -> NDArray[np.float32]:
    """Rises from 0 Hz to half the sample rate."""
    seconds = np.arange(samples) / rate_hz
    return (0.5 * np.sin(np.pi * (rate_hz / 2) / (samples / rate_hz) * seconds**2)).astype(np.float32)


def noise(samples: int, seed: int = 0, amplitude: float = 0.1) -> NDArray[np.float32]:
    return (amplitude * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def impulse(samples: int, at: int | None = None) -> NDArray[np.float32]:
    signal = np.zeros(samples, np.float32)
    signal[samples // 2 if at is None else at] = 1.0
    return signal


def to_int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    return np.clip(np.round(samples * 32768), -32768, 32767).astype("<i2")


def write_wav(path: Path, samples: NDArray[np.float32], rate_hz: int = 16_000) -> Path:
    """Writes (frames,) or (frames, channels) as 16-bit PCM."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(to_int16(samples).tobytes())
    return path


WORDS = {"high": 3000.0, "low": 300.0, "middle": 1000.0}


def write_words(root: Path, speakers: int = 40, seed: int = 0) -> Path:
    """Writes a small set in the layout of Speech Commands: tones of three heights in noise, one a word and speaker."""
    generator = np.random.default_rng(seed)
    for speaker in range(speakers):
        for word, hz in WORDS.items():
            samples = int(generator.integers(8_000, 16_001))
            tone = sine(hz * generator.uniform(0.9, 1.1), samples, amplitude=generator.uniform(0.1, 0.5))
            name = f"{speaker:08x}_nohash_0.wav"
            write_wav(root / word / name, tone + noise(samples, seed=speaker, amplitude=0.02))
    return root


def film() -> bytes:
    """An MPEG-4 file whose only track has pictures."""

    def box(name: bytes, content: bytes) -> bytes:
        return (8 + len(content)).to_bytes(4, "big") + name + content

    handler = box(b"hdlr", bytes(8) + b"vide" + bytes(13))
    return box(b"ftyp", b"isom" + bytes(4)) + box(b"moov", box(b"trak", box(b"mdia", handler)))
