"""Shares that sum to 100% also after an arm is removed."""

from decimal import Decimal

import pytest

from app.wizard.buttons import pressed


def after(shares: list[str], do: str = "remove /arms/0") -> list[str]:
    arms = [{"key": str(n), "share": share} for n, share in enumerate(shares)]
    tree = {"arms": arms, "control_arm": ""}
    pressed(tree, do)
    return [arm["share"] for arm in tree["arms"]]


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        (["20", "60", "20"], ["75", "25"]),
        (["20%", "80", "0"], ["100", "0"]),
        (["100", "0", "0"], ["50", "50"]),
        (["10", "30", "30", "30"], ["33.33", "33.34", "33.33"]),
    ],
)
def test_the_others_get_the_share_of_a_removed_arm_in_proportion(shares: list[str], expected: list[str]) -> None:
    assert after(shares) == expected
    assert sum(Decimal(share) for share in expected) == 100


@pytest.mark.parametrize("share", ["much", "NaN", "1e-5000", "1e5000", "-5", "101", "33,3"])
def test_with_a_share_that_is_not_a_number_nothing_changes(share: str) -> None:
    assert after([share, "60", "20"]) == ["60", "20"]
    assert after(["20", "60", share]) == ["60", share]


@pytest.mark.parametrize(
    "do",
    [
        "save",
        "add /arms/0",
        "remove",
        "remove /arms",
        "remove /arms/9",
        "remove /arms/x",
        "remove /arms/²",
        "up /arms/0",
    ],
)
def test_only_removing_an_arm_changes_other_shares(do: str) -> None:
    assert after(["20", "60", "20"], do) == ["20", "60", "20"]
