"""Estimators agree when all of their intervals share a value."""

from experiments.off_policy.agreement import Agreement, agreement


def test_intervals_with_a_value_in_common_agree_and_the_common_part_is_named() -> None:
    result = agreement({"ips": (0.1, 0.5), "snips": (0.2, 0.6), "dr": (0.25, 0.4)})
    assert result == Agreement(True, 0.25, 0.4, None)


def test_intervals_that_touch_in_one_point_agree() -> None:
    assert agreement({"ips": (0.1, 0.3), "dr": (0.3, 0.5)}).agree is True


def test_two_pairs_may_overlap_and_the_three_still_disagree() -> None:
    result = agreement({"ips": (0.0, 0.2), "snips": (0.1, 0.4), "dr": (0.3, 0.5)})
    assert result == Agreement(False, None, None, ("ips", "dr"))


def test_a_single_interval_says_nothing_about_agreement() -> None:
    assert agreement({"dr": (0.0, 1.0)}).agree is None
    assert agreement({}).agree is None
