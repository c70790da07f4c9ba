"""Shares that sum to 100% also after an arm is removed."""

from decimal import Decimal

import pytest

from app.wizard.shares import handed_on


def after(shares: list[str], do: str = "remove-0") -> list[str]:
    typed = handed_on({"rows": [{"key": str(n), "share": share} for n, share in enumerate(shares)], "holdout": ""}, do)
    return [row["share"] for row in typed["rows"]]


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        (["20", "60", "20"], ["20", "75", "25"]),
        (["20%", "80", "0"], ["20%", "100", "0"]),
        (["100", "0", "0"], ["100", "50", "50"]),
        (["10", "30", "30", "30"], ["10", "33.33", "33.34", "33.33"]),
    ],
)
def test_the_others_get_the_share_of_the_arm_that_goes_in_proportion(shares: list[str], expected: list[str]) -> None:
    assert after(shares) == expected
    assert sum(Decimal(share) for share in expected[1:]) == 100


@pytest.mark.parametrize("share", ["much", "NaN", "1e-5000", "1e5000", "-5", "101", "33,3"])
def test_a_share_that_is_none_is_left_for_the_page_to_tell(share: str) -> None:
    assert after([share, "60", "20"]) == [share, "60", "20"]
    assert after(["20", "60", share]) == ["20", "60", share]


@pytest.mark.parametrize("do", ["save", "add", "duplicate-0", "remove-", "remove-9", "remove-x", "remove-²"])
def test_only_removing_hands_anything_on(do: str) -> None:
    assert after(["20", "60", "20"], do) == ["20", "60", "20"]
