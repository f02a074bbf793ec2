from dataclasses import replace

import numpy as np
import pytest

from features.frontend.presets import PRESETS
from features.frontend.spectrogram import compute_features
from model.training.silence import Silence, at_levels
from tests.signals import noise
