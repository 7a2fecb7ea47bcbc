"""The ledger: every deliberately wrong strategy, its right twin, and the check that must catch it."""

from __future__ import annotations

from typing import NamedTuple

from strategies.base import Strategy
from strategies.ewc import EWC
from strategies.freeze import Freeze
from strategies.l2_anchor import L2Anchor
from strategies.naive import Naive
from tests import wrong_adapters as adapters
from tests import wrong_importance as importance
from tests import wrong_manners as manners
from tests import wrong_memory as memory
from tests import wrong_synapses as synapses


class Bug(NamedTuple):
    """A wrong strategy.

    Attributes:
        wrong: Its class; its settings are the defaults.
        right: The same without the bug.
        check: The check that must fail.
        problem: On which it fails.
    """

    wrong: type[Strategy]
    right: type[Strategy]
    check: str
    problem: str = "points"


BUGS = (
    Bug(importance.BatchSquared, importance.Measuring, "batching_does_not_matter"),
    Bug(importance.ByBatches, importance.Measuring, "batching_does_not_matter"),
    Bug(importance.ByFullBatches, importance.Measuring, "batching_does_not_matter"),
    Bug(importance.ByAsked, importance.Measuring, "batching_does_not_matter"),
    Bug(importance.ByOneLess, importance.Measuring, "batching_does_not_matter"),
    Bug(importance.WithDropout, importance.Measuring, "looks_back_without_dropout"),
    Bug(importance.LeftInTrainMode, importance.Measuring, "looks_back_without_dropout"),
    Bug(importance.Gathered, EWC, "learns_from_the_task_alone"),
    Bug(importance.TwiceThePull, EWC, "penalty_is_its_gradient"),
    Bug(importance.Misnamed, EWC, "defaults_have_an_effect"),
    Bug(importance.Relative, EWC, "survives_one_class"),
    Bug(importance.NegativeImportance, EWC, "importance_is_valid"),
    Bug(importance.Alias, L2Anchor, "defaults_have_an_effect"),
    Bug(importance.EveryHeadPulled, L2Anchor, "new_heads_are_free"),
    Bug(importance.EveryHeadDecays, L2Anchor, "unseen_heads_keep_their_bits"),
    Bug(importance.Decaying, L2Anchor, "neutral_changes_nothing"),
    Bug(synapses.PathOfPenalty, synapses.PathIntegral, "learns_from_the_task_alone"),
    Bug(synapses.PathWithoutPull, synapses.PathIntegral, "defaults_have_an_effect"),
    Bug(synapses.SynapsesOfBatches, synapses.Synapses, "batching_does_not_matter"),
    Bug(synapses.SynapsesOfShutPlaces, synapses.Synapses, "numbers_are_finite", problem="texts"),
    Bug(memory.PerCall, memory.Rehearsal, "parts_of_a_batch_add_up"),
    Bug(memory.GlobalDraws, memory.Rehearsal, "dropout_is_the_loops"),
    Bug(memory.ZerosForOldHeads, memory.Rehearsal, "unused_heads_keep_their_bits"),
    Bug(memory.Unbilled, memory.Rehearsal, "memory_lies_in_tensors"),
    Bug(memory.Peeking, memory.Rehearsal, "only_a_stages_data_is_read"),
    Bug(memory.LastOfBatches, memory.Rehearsal, "batching_does_not_matter"),
    Bug(memory.ProjectionOfHeads, memory.Projection, "unused_heads_keep_their_bits"),
    Bug(memory.NoisyTeacher, memory.Distillation, "teachers_have_no_dropout"),
    Bug(memory.TeacherByStep, memory.Distillation, "order_within_a_batch_does_not_matter"),
    Bug(adapters.AbsoluteProducts, adapters.LowRank, "penalty_is_its_gradient"),
    Bug(adapters.LeavesItsAdapters, adapters.LowRank, "structure_is_restored"),
    Bug(adapters.GlobalStart, adapters.LowRank, "runs_repeat"),
    Bug(manners.InAttributes, EWC, "resumes_within_a_stage"),
    Bug(manners.InTheModule, EWC, "runs_do_not_mix"),
    Bug(manners.OnTheModel, EWC, "resumes_within_a_stage"),
    Bug(manners.LostMomentum, Naive, "resumes_within_a_stage"),
    Bug(manners.Annealed, L2Anchor, "attributes_stay"),
    Bug(manners.GlobalNoise, L2Anchor, "runs_repeat"),
    Bug(manners.PythonNoise, L2Anchor, "runs_repeat"),
    Bug(manners.ShiftedDropout, L2Anchor, "dropout_is_the_loops"),
    Bug(manners.SpoilsTheStart, L2Anchor, "untrained_weights_stay"),
    Bug(manners.MovesTheFrozen, Freeze, "frozen_weights_keep_their_bits"),
    Bug(manners.LeavesAHook, L2Anchor, "nothing_is_left_on_the_model"),
    Bug(manners.SharesWhatDiffers, L2Anchor, "plain_stages_are_naive"),
    Bug(manners.HidesItsStrength, L2Anchor, "equal_fingerprints_equal_bits"),
    Bug(manners.HidesItsMeasuring, EWC, "equal_fingerprints_equal_bits"),
    Bug(manners.NeverTheSameKey, L2Anchor, "fingerprints_are_plain"),
    Bug(manners.MeasuresForNobody, EWC, "nothing_is_kept_for_nobody"),
    Bug(manners.Arrays, L2Anchor, "state_survives_the_disk"),
    Bug(manners.Diary, L2Anchor, "memory_does_not_grow_with_steps"),
    Bug(manners.NotANumber, L2Anchor, "numbers_are_finite"),
    Bug(manners.SummedLoss, L2Anchor, "neutral_changes_nothing"),
    Bug(manners.LosesATask, L2Anchor, "every_task_has_its_stage"),
    Bug(manners.KeepsThePrediction, L2Anchor, "prediction_puts_weights_back"),
    Bug(manners.Unbounded, L2Anchor, "settings_are_held_to_their_bounds"),
    Bug(manners.TakesBools, L2Anchor, "settings_are_held_to_their_bounds"),
    Bug(manners.Undocumented, L2Anchor, "settings_are_documented"),
    Bug(manners.UntoldCosts, L2Anchor, "settings_are_documented"),
)
"""What a check must catch."""

UNSEEN: tuple[type[Strategy], ...] = (memory.Reversed, manners.Hashed)
"""Wrong in a way that no rule for all strategies can tell."""
