"""The rows of a feature set by what their labels count as: to learn from, and to validate or test on."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from features.errors import UsageError
from features.frontend.spec import FeatureSpec
from features.io.filesystem import Location, place
from features.runtime.log import LOG
from features.sources.partition import TRAINING
from features.store.manifest import Manifest
from model.training.holdout import Selection
from model.training.label_plan import Draw, LabelPlan, fixed_draw, label_rows
from model.training.noise import Noise
from model.training.rows import Rows
from model.training.sampling import Sampler
from model.training.settings import Settings
from model.training.silence import Silence


@dataclass(frozen=True)
class LabelledSet:
    """A feature set, and what its labels count as.

    Attributes:
        folder: the feature set.
        manifest: its state.
        classes: in the order of their ids.
        plan: what labels count as.
        silence: what windows of `_silence_` are cut from, by partition; a partition may have none.
        one_hot: see `Rows`.
    """

    folder: Location
    manifest: Manifest
    classes: list[str]
    plan: LabelPlan
    silence: Mapping[str, Silence] = field(default_factory=dict)
    one_hot: bool = False

    @classmethod
    def of(
        cls, folder: str, manifest: Manifest, settings: Settings, noise: Noise | None, one_hot: bool = False
    ) -> "LabelledSet":
        """Returns a feature set as a training uses it.

        Args:
            folder: the feature set.
            manifest: its state.
            settings: of the training.
            noise: its background noise, None where none is used.
            one_hot: see `Rows`.

        Raises:
            UsageError: no recording of noise is long enough for `_silence_`.
        """
        plan = LabelPlan(settings.labels)
        silence = silence_by_partition(noise, manifest.spec, plan)
        return cls(place(folder), manifest, plan.classes(manifest.classes), plan, silence, one_hot)

    def to_learn_from(
        self,
        partitions: tuple[str, ...],
        within: Selection | None = None,
        is_balanced: bool = False,
        in_memory: bool = False,
    ) -> Rows:
        """Returns rows to learn from; what an epoch has of them is drawn where there is something to draw.

        Args:
            partitions: which rows.
            within: rows that may be used; None for all.
            is_balanced: whether each class comes as often as each other.
            in_memory: see `Rows`.
        """
        sampler, selection = None, within
        if is_balanced or not self.plan.is_plain:
            rows = label_rows(self.folder, self.manifest, partitions, self.plan, self.classes, within)
            sampler = Sampler.of(rows, self.plan, self.classes, self.silence.get(TRAINING), is_balanced)
            if rows.left_out:
                selection = rows.selection(rows.row >= 0)
        return Rows(
            folder=self.folder,
            manifest=self.manifest,
            partitions=partitions,
            classes=self.classes,
            in_memory=in_memory,
            selection=selection,
            plan=self.plan,
            sampler=sampler,
            one_hot=self.one_hot,
        )

    def to_test_on(
        self, partitions: tuple[str, ...], noise: str, within: Selection | None = None, in_memory: bool = False
    ) -> tuple[Rows, Draw]:
        """Returns rows to validate or test on, always the same ones, and how they were chosen.

        Args:
            partitions: which rows.
            noise: partition whose noise `_silence_` is cut from.
            within: rows that may be used; None for all.
            in_memory: see `Rows`.
        """
        draw = fixed_draw(self.folder, self.manifest, partitions, self.plan, self.classes, within)
        silence = self.silence.get(noise)
        if draw.silence and silence is None:
            LOG.warning("warning: the background noise has no time for %s: there is no _silence_ in it", noise)
        rows = Rows(
            folder=self.folder,
            manifest=self.manifest,
            partitions=partitions,
            classes=self.classes,
            in_memory=in_memory,
            selection=draw.selection,
            plan=self.plan,
            silence=silence.fixed(draw.silence) if silence and draw.silence else None,
            one_hot=self.one_hot,
        )
        return rows, draw


def silence_by_partition(noise: Noise | None, spec: FeatureSpec, plan: LabelPlan) -> dict[str, Silence]:
    """Returns what `_silence_` is cut from, by partition; nothing where there is no such class.

    Raises:
        UsageError: there is no noise to learn from.
    """
    if noise is None or not plan.settings.silence_share:
        return {}
    if not len(noise.windows[TRAINING]):
        raise UsageError("no recording of background noise is long enough to learn _silence_ from; give others with "
                         "--noise, or leave --silence-share out")  # fmt: skip
    return {
        partition: Silence(
            windows.features,
            [f"{path}@{start}" for path, start in zip(windows.recordings, windows.starts.tolist(), strict=True)],
            spec,
        )
        for partition, windows in noise.windows.items()
        if len(windows)
    }
