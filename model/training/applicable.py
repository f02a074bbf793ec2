"""Which settings there are for a network: of a linear one, none of those of steps and of changed clips."""

from features.errors import UsageError
from model.networks.registry import network
from model.training.section import option, shown
from model.training.settings import SETTING_NAMES, Given, Settings

# Of these sections, what a linear network has; of the others it has all.
_OF_LINEAR = {"schedule": ("best_by", "patience", "balance", "l2"), "augmentation": ()}
# What says how its penalty is chosen.
_OF_CHOICE = ("best_by", "patience")
_LINEAR_ALONE = ("l2",)


def is_linear(name: str) -> bool:
    """Returns whether the network of a name is linear; raises `UsageError` for a network that does not exist."""
    return network(name).is_linear


def applies(name: str, settings: Settings) -> bool:
    """Returns whether a setting does something in a training, as far as its network and its penalty decide that."""
    if not network(settings.network).is_linear:
        return name not in _LINEAR_ALONE
    if settings.schedule.l2 and name in _OF_CHOICE:
        return False
    return name in _OF_LINEAR.get(SETTING_NAMES[name] or "", (name,))


def check_given(settings: Settings, given: Given) -> None:
    """Raises `UsageError` for a setting that is given and is none of the network's.

    Args:
        settings: of the training.
        given: those of them that were asked for.
    """
    chosen = network(settings.network)
    for name in given:
        if not applies(name, settings):
            if not chosen.is_linear:
                reason = f"it is the penalty of linear; {chosen.name} has --weight-decay"
            elif name in _OF_CHOICE:
                reason = f"it says how the penalty is chosen, which --l2 {settings.schedule.l2:g} gives"
            else:
                reason = f"{chosen.name} is solved for, without steps, epochs or changed clips"
            raise UsageError(f"{option(name)} {shown(given[name])} would not be used: {reason}; leave it out")
    if chosen.is_linear and settings.schedule.balance == "sampling":
        raise UsageError(f"{chosen.name} learns from each clip once, and --balance sampling draws them; give --balance "
                         "weights")  # fmt: skip
    if chosen.is_linear and settings.rows.validate_on == () and not settings.schedule.l2:
        raise UsageError(f"the L2 penalty of {chosen.name} is chosen on the clips validated on, and --validate-on is "
                         "none; give the penalty with --l2, or leave --validate-on out")  # fmt: skip
